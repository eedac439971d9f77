//! Where the sentences of a passage begin and end. Pure.
//!
//! Good enough for quoting documentation: abbreviations, decimals, addresses and inline code
//! do not end a sentence, list items stand alone, and what is no sentence is left out.

mod blocks;

use std::ops::Range;

use self::blocks::{Block, blocks};

/// Words before a full stop that does not end a sentence, in lower case.
const ABBREVIATIONS: [&str; 58] = [
    "e.g", "i.e", "cf", "vs", "mr", "mrs", "ms", "dr", "prof", "st", "fr", "gen", "lt", "col", "maj", "capt", "sgt",
    "rev", "hon", "sen", "rep", "gov", "pres", "mt", "ft", "vol", "vols", "ed", "eds", "trans", "approx", "ca", "dept",
    "est", "al", "viz", "resp", "incl", "esp", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct",
    "nov", "dec", "ch", "eq", "sec", "fig", "pp", "nr", "para",
];

/// Abbreviations of what a number follows; elsewhere they are words.
const BEFORE_NUMBERS: [&str; 7] = ["no", "nos", "art", "c", "p", "fol", "op"];

/// Abbreviations that end as many sentences as they do not: the next word decides.
const AMBIGUOUS: [&str; 10] = ["inc", "ltd", "co", "corp", "jr", "sr", "bros", "a.m", "p.m", "ph.d"];

/// Words that begin a sentence more often than a name, in lower case.
const OPENERS: [&str; 40] = [
    "a", "after", "all", "although", "an", "and", "as", "at", "because", "before", "but", "by", "during", "for",
    "from", "he", "her", "his", "however", "if", "in", "it", "its", "many", "most", "on", "one", "she", "since",
    "some", "that", "the", "their", "there", "these", "they", "this", "when", "while", "with",
];

/// The longest mark of a note, without its brackets.
const LONGEST_NOTE_BYTES: usize = 8;

/// The byte ranges of the sentences of `text`, in order, without surrounding white space
/// and list marks; never empty, never overlapping.
pub(super) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for block in blocks(text) {
        match block {
            Block::Code(range) => found.extend(trimmed(text, range)),
            Block::Prose(range) => split_prose(text, range, &mut found),
        }
    }
    found
}

fn split_prose(text: &str, block: Range<usize>, found: &mut Vec<Range<usize>>) {
    let mut start = block.start;
    let mut in_code = false;
    let mut characters = text[block.clone()].char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let at = block.start + at;
        match character {
            '`' => in_code = !in_code,
            '。' | '！' | '？' if !in_code => {
                let end = at + character.len_utf8();
                found.extend(trimmed(text, start..end));
                start = end;
            }
            '.' | '!' | '?' | '…' if !in_code => {
                let mut end = at + character.len_utf8();
                while let Some((_, closing)) = characters.next_if(|(_, c)| is_closing(*c)) {
                    end += closing.len_utf8();
                }
                let note = note_bytes(&text[end..block.end]);
                while characters.next_if(|(at, _)| block.start + at < end + note).is_some() {}
                end += note;
                let rest = &text[end..block.end];
                if ends_sentence(&text[start..at], character, rest) {
                    found.extend(trimmed(text, start..end));
                    start = end;
                }
            }
            _ => {}
        }
    }
    found.extend(trimmed(text, start..block.end));
}

/// The length of the marks of notes, such as `[1][b]`, right after a stop. They belong to the
/// sentence before.
fn note_bytes(rest: &str) -> usize {
    let mut end = 0;
    while let Some(inside) = rest[end..].strip_prefix('[')
        && let Some(close) = inside.find(']').filter(|close| (1..=LONGEST_NOTE_BYTES).contains(close))
    {
        end += close + 2;
    }
    end
}

/// Whether a character may follow the stop of a sentence and belong to it.
pub(super) fn is_closing(character: char) -> bool {
    matches!(character, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '.' | '!' | '?' | '*' | '_')
}

/// Whether a sentence that reads `before` ends with the `stop` that `rest` follows.
pub(super) fn ends_sentence(before: &str, stop: char, rest: &str) -> bool {
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return false;
    }
    let following = rest.trim_start().trim_start_matches(is_opening);
    let Some(next) = following.chars().next() else {
        return true;
    };
    if next.is_lowercase() {
        return false;
    }
    if stop != '.' {
        return true;
    }
    let word = before.rsplit(char::is_whitespace).next().unwrap_or("").trim_start_matches(is_opening);
    let lower = word.to_lowercase();
    let is_one_of = |words: &[&str]| words.contains(&lower.as_str());
    if is_one_of(&ABBREVIATIONS) || is_initial(word) {
        return false;
    }
    if is_one_of(&BEFORE_NUMBERS) {
        return !next.is_ascii_digit();
    }
    if is_one_of(&AMBIGUOUS) || is_acronym(word) {
        let first = following.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("");
        return OPENERS.contains(&first.to_lowercase().as_str());
    }
    true
}

fn is_opening(character: char) -> bool {
    matches!(character, '(' | '[' | '"' | '“' | '‘' | '«' | '\'' | '*' | '_')
}

/// One letter, as in the name "J. Smith". The pronoun ends sentences; no name begins so.
fn is_initial(word: &str) -> bool {
    let mut characters = word.chars();
    matches!((characters.next(), characters.next()), (Some(only), None) if only.is_uppercase() && only != 'I')
}

/// Letters with stops between them, as in "U.S" and "J.R.R".
fn is_acronym(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    parts.len() > 1 && parts.iter().all(|part| part.chars().count() == 1 && part.chars().all(char::is_uppercase))
}

fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    // The mark of quoted text belongs to the layout.
    let start = range.start + (part.len() - part.trim_start_matches(|c: char| c.is_whitespace() || c == '>').len());
    let end = range.start + part.trim_end().len();
    (start < end).then_some(start..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(text: &str) -> Vec<&str> {
        sentences(text).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn sentences_of_documentation() {
        let table: [(&str, &[&str]); 23] = [
            ("", &[]),
            ("One. Two! Three?", &["One.", "Two!", "Three?"]),
            (
                "Use e.g. Redis, i.e. a cache. Dr. A. Smith agrees.",
                &["Use e.g. Redis, i.e. a cache.", "Dr. A. Smith agrees."],
            ),
            ("Logs, traces etc. Then stop.", &["Logs, traces etc.", "Then stop."]),
            ("Version 3.5 is out. See example.com for it.", &["Version 3.5 is out.", "See example.com for it."]),
            ("Ask http://a.org/b?c=d. Then wait.", &["Ask http://a.org/b?c=d.", "Then wait."]),
            ("He said \"stop.\" Then he left.", &["He said \"stop.\"", "Then he left."]),
            ("\"Really?\" he asked. \"Yes!\" she said.", &["\"Really?\" he asked.", "\"Yes!\" she said."]),
            (
                "It moved to the U.S. The law of the U.S. Congress held.",
                &["It moved to the U.S.", "The law of the U.S. Congress held."],
            ),
            (
                "J.R.R. Tolkien wrote. So did I. No. 5 is one. He said no. Ask.",
                &["J.R.R. Tolkien wrote.", "So did I.", "No. 5 is one.", "He said no.", "Ask."],
            ),
            (
                "Acme Inc. sells. It belongs to Acme Inc. It pays.",
                &["Acme Inc. sells.", "It belongs to Acme Inc.", "It pays."],
            ),
            ("Wait... Then go on. Wait... no.", &["Wait...", "Then go on.", "Wait... no."]),
            ("# Title\n\nText here\nand there. More.\n", &["Text here\nand there.", "More."]),
            (
                "Steps:\n- Stop it. Wait.\n- Start it\n1. First\n2) Second",
                &["Steps:", "Stop it.", "Wait.", "Start it", "First", "Second"],
            ),
            ("Run:\n```sh\ncd a. B\n```\nDone.", &["Run:", "cd a. B", "Done."]),
            ("```\nnever closed. It\n", &["never closed. It"]),
            ("Call `a.b. C` now. Good.", &["Call `a.b. C` now.", "Good."]),
            ("It is done. `b` is next.", &["It is done.", "`b` is next."]),
            ("> Quoted. And\n> more.", &["Quoted.", "And\n> more."]),
            ("東京は首都です。大きいです。", &["東京は首都です。", "大きいです。"]),
            ("It rose.[1][note 2] It fell.[1].", &["It rose.[1][note 2]", "It fell.[1]."]),
            ("Call a.[b] or a.[x it.", &["Call a.[b] or a.[x it."]),
            ("It began in Oct. 1973. It ended.", &["It began in Oct. 1973.", "It ended."]),
        ];
        for (text, expected) in table {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_and_not_empty(text in "[a-zA-Z.!?`#\\-0-9 \\n。é|)>=]{0,200}") {
            let mut end = 0;
            for range in sentences(&text) {
                prop_assert!(end <= range.start && range.start < range.end && range.end <= text.len());
                prop_assert_eq!(text[range.clone()].trim(), &text[range.clone()]);
                end = range.end;
            }
        }
    }
}
