//! Where sentences begin and end. Pure.
//!
//! Good enough for quoting documentation: abbreviations and inline code do not end a
//! sentence, list items and table rows stand alone, code blocks stay whole, and headings
//! are left out, since they name a subject and say nothing of it.

use std::ops::Range;

/// Words before a full stop that does not end a sentence, in lower case.
const ABBREVIATIONS: [&str; 28] = [
    "e.g", "i.e", "cf", "vs", "etc", "mr", "mrs", "ms", "dr", "prof", "st", "no", "fig", "eq", "sec", "ch", "vol",
    "approx", "ca", "inc", "ltd", "co", "corp", "jr", "sr", "dept", "est", "al",
];

/// The byte ranges of the sentences of `text`, in order, without surrounding white space
/// and list marks; never empty, never overlapping.
pub(super) fn sentences(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for block in blocks(text) {
        match block {
            Block::Whole(range) => found.extend(trimmed(text, range)),
            Block::Prose(range) => split_prose(text, range, &mut found),
        }
    }
    found
}

/// A stretch of text that sentences do not cross.
enum Block {
    /// Not to be split: a code block.
    Whole(Range<usize>),
    /// A paragraph, list item or table row.
    Prose(Range<usize>),
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut prose: Option<Range<usize>> = None;
    let mut code: Option<Range<usize>> = None;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let range = offset..offset + line.len();
        offset = range.end;
        let is_fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        if let Some(open) = &mut code {
            if is_fence {
                blocks.push(Block::Whole(open.clone()));
                code = None;
            } else {
                open.end = range.end;
            }
            continue;
        }
        match line_kind(line) {
            _ if is_fence => {
                blocks.extend(prose.take().map(Block::Prose));
                code = Some(range.end..range.end);
            }
            LineKind::Blank | LineKind::Heading => blocks.extend(prose.take().map(Block::Prose)),
            LineKind::Item { mark } => {
                blocks.extend(prose.take().map(Block::Prose));
                prose = Some(range.start + mark..range.end);
            }
            LineKind::Text => match &mut prose {
                Some(open) => open.end = range.end,
                None => prose = Some(range),
            },
        }
    }
    // A fence that is never closed holds code to the end.
    blocks.extend(code.map(Block::Whole));
    blocks.extend(prose.map(Block::Prose));
    blocks
}

enum LineKind {
    Blank,
    Heading,
    /// `mark` is the length of indentation and list mark in bytes.
    Item {
        mark: usize,
    },
    Text,
}

fn line_kind(line: &str) -> LineKind {
    let body = line.trim_start();
    let indent = line.len() - body.len();
    if body.is_empty() {
        return LineKind::Blank;
    }
    let hashes = body.len() - body.trim_start_matches('#').len();
    if (1..=6).contains(&hashes) && body[hashes..].starts_with([' ', '\n']) {
        return LineKind::Heading;
    }
    if body.starts_with('|') {
        return LineKind::Item { mark: indent };
    }
    let digits = body.len() - body.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mark = match digits {
        0 if body.starts_with(['-', '*', '+', '•']) => body.chars().next().map_or(0, char::len_utf8),
        1..=3 if body[digits..].starts_with(['.', ')']) => digits + 1,
        _ => return LineKind::Text,
    };
    if body[mark..].starts_with([' ', '\t']) { LineKind::Item { mark: indent + mark } } else { LineKind::Text }
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

fn is_closing(character: char) -> bool {
    matches!(character, '"' | '\'' | ')' | ']' | '”' | '’' | '»' | '.' | '!' | '?' | '*' | '_')
}

/// Whether a sentence that reads `before` ends with the `stop` that `rest` follows.
fn ends_sentence(before: &str, stop: char, rest: &str) -> bool {
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return false;
    }
    if stop != '.' {
        return true;
    }
    let Some(next) = rest.trim_start().chars().next() else {
        return true;
    };
    if next.is_lowercase() {
        return false;
    }
    let opening = |c: char| matches!(c, '(' | '[' | '"' | '“' | '\'' | '*' | '_');
    let word = before.rsplit(char::is_whitespace).next().unwrap_or("").trim_start_matches(opening);
    let is_initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase);
    // "etc." ends as many sentences as it does not; before a capital it most likely does.
    let word = word.to_lowercase();
    !(is_initial || (ABBREVIATIONS.contains(&word.as_str()) && word != "etc"))
}

fn trimmed(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let part = &text[range.clone()];
    let start = range.start + (part.len() - part.trim_start().len());
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
        let table: [(&str, &[&str]); 12] = [
            ("", &[]),
            ("One. Two! Three?", &["One.", "Two!", "Three?"]),
            (
                "Use e.g. Redis, i.e. a cache. Dr. A. Smith agrees.",
                &["Use e.g. Redis, i.e. a cache.", "Dr. A. Smith agrees."],
            ),
            ("Logs, traces etc. Then stop.", &["Logs, traces etc.", "Then stop."]),
            ("Version 3.5 is out. See example.com for it.", &["Version 3.5 is out.", "See example.com for it."]),
            ("He said \"stop.\" Then he left.", &["He said \"stop.\"", "Then he left."]),
            ("# Title\n\nText here\nand there. More.\n", &["Text here\nand there.", "More."]),
            (
                "Steps:\n- Stop it. Wait.\n- Start it\n1. First\n2) Second",
                &["Steps:", "Stop it.", "Wait.", "Start it", "First", "Second"],
            ),
            ("Run:\n```sh\ncd a. B\nls\n```\nDone.", &["Run:", "cd a. B\nls", "Done."]),
            ("```\nnever closed. It\n", &["never closed. It"]),
            ("Call `a.b. C` now. Good.", &["Call `a.b. C` now.", "Good."]),
            ("東京は首都です。大きいです。", &["東京は首都です。", "大きいです。"]),
        ];
        for (text, expected) in table {
            assert_eq!(split(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_and_not_empty(text in "[a-zA-Z.!?`#\\-0-9 \\n。é|)]{0,200}") {
            let mut end = 0;
            for range in sentences(&text) {
                prop_assert!(end <= range.start && range.start < range.end && range.end <= text.len());
                prop_assert_eq!(text[range.clone()].trim(), &text[range.clone()]);
                end = range.end;
            }
        }
    }
}
