//! Which stretches of a text are words or identifiers, and which terms an identifier gives.

use super::unspaced::{self, is_unspaced};
use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

/// A part that letter case alone sets off is this long at least: `mRNA` is one word.
const MIN_CAMEL_BYTES: usize = 2;

/// The stretches of a text that are words or identifiers, from front to back: letters and digits, with single
/// connectors between them, or characters of a script that does not part words by spaces.
pub(super) struct Runs<'a> {
    chars: Peekable<CharIndices<'a>>,
}

impl<'a> Runs<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { chars: text.char_indices().peekable() }
    }
}

impl Iterator for Runs<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let (start, first) = self.chars.by_ref().find(|&(_, character)| character.is_alphanumeric())?;
        let mut end = start + first.len_utf8();
        if is_unspaced(first) {
            while let Some((at, character)) = self.chars.next_if(|(_, character)| is_unspaced(*character)) {
                end = at + character.len_utf8();
            }
            return Some(start..end);
        }
        loop {
            let mut ahead = self.chars.clone();
            let next = match ahead.next() {
                Some((_, character)) if is_apostrophe(character) || is_connector(character) => ahead.next(),
                next => next,
            };
            let Some((at, character)) = next else { break };
            if !character.is_alphanumeric() || is_unspaced(character) {
                break;
            }
            end = at + character.len_utf8();
            self.chars = ahead;
        }
        Some(start..end)
    }
}

/// The terms of one run, in order of their ends: its parts, and the whole if it is more than one of them.
pub(super) fn terms(text: &str, run: Range<usize>) -> Vec<Range<usize>> {
    let slice = &text[run.clone()];
    if slice.starts_with(is_unspaced) {
        return unspaced::terms(slice).into_iter().map(|term| run.start + term.start..run.start + term.end).collect();
    }
    if is_number(slice) {
        return vec![run];
    }
    let mut terms = parts(slice, run.start);
    if terms.len() > 1 {
        terms.push(run);
    }
    terms
}

fn parts(run: &str, offset: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, connector) in run.match_indices(is_connector).chain([(run.len(), "")]) {
        push_words(run, start..at, offset, &mut parts);
        start = at + connector.len();
    }
    parts
}

/// Cuts `camelCase` and `HTTPServer` where a word begins; the plural `CPUs` is one word.
fn push_words(run: &str, part: Range<usize>, offset: usize, parts: &mut Vec<Range<usize>>) {
    let bytes = run.as_bytes();
    let mut start = part.start;
    for at in part.start + 1..part.end {
        let after_lower = bytes[at - 1].is_ascii_lowercase() && bytes[at].is_ascii_uppercase();
        let before_lower = bytes[at - 1].is_ascii_uppercase()
            && bytes[at].is_ascii_uppercase()
            && bytes[at + 1..part.end].iter().take(2).filter(|byte| byte.is_ascii_lowercase()).count() == 2;
        if (after_lower || before_lower) && at - start >= MIN_CAMEL_BYTES && part.end - at >= MIN_CAMEL_BYTES {
            parts.push(offset + start..offset + at);
            start = at;
        }
    }
    parts.push(offset + start..offset + part.end);
}

fn is_number(run: &str) -> bool {
    run.matches(is_connector).count() <= 1 && run.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

fn is_connector(character: char) -> bool {
    matches!(character, '_' | '-' | '.')
}

/// Belongs to the word; the stemmer knows the English genitive.
fn is_apostrophe(character: char) -> bool {
    matches!(character, '\'' | '\u{2019}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(text: &str) -> Vec<Vec<&str>> {
        Runs::new(text).map(|run| terms(text, run).into_iter().map(|term| &text[term]).collect()).collect()
    }

    #[test]
    fn identifiers_are_found_whole_and_in_parts() {
        let table: [(&str, &[&[&str]]); 14] = [
            ("ERR_CONN_RESET!", &[&["ERR", "CONN", "RESET", "ERR_CONN_RESET"]]),
            ("maxmemory-policy", &[&["maxmemory", "policy", "maxmemory-policy"]]),
            ("v1.2.3.", &[&["v1", "2", "3", "v1.2.3"]]),
            ("(1.8)", &[&["1.8"]]),
            ("maxMemoryPolicy", &[&["max", "Memory", "Policy", "maxMemoryPolicy"]]),
            ("HTTPServer", &[&["HTTP", "Server", "HTTPServer"]]),
            ("mRNA", &[&["mRNA"]]),
            ("CPUs", &[&["CPUs"]]),
            ("it's", &[&["it's"]]),
            ("the end. Next", &[&["the"], &["end"], &["Next"]]),
            ("--dry-run", &[&["dry", "run", "dry-run"]]),
            ("__init__", &[&["init"]]),
            ("a--b", &[&["a"], &["b"]]),
            ("x東京タワーy", &[&["x"], &["東京", "タワー"], &["y"]]),
        ];
        for (text, expected) in table {
            assert_eq!(found(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_letter_and_digit_is_in_a_run(text in "([a-cA-C0-9_.'\\- é東]){0,40}|\\PC{0,40}") {
            let runs: Vec<_> = Runs::new(&text).collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for (at, character) in text.char_indices().filter(|(_, character)| character.is_alphanumeric()) {
                prop_assert!(runs.iter().any(|run| run.contains(&at)), "{character:?}");
            }
            for run in runs {
                for term in terms(&text, run.clone()) {
                    prop_assert!(run.start <= term.start && term.start < term.end && term.end <= run.end);
                    prop_assert!(text.get(term).is_some());
                }
            }
        }
    }
}
