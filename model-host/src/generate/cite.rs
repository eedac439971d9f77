//! Finds citation marks in an answer that arrives in pieces. Pure.

use std::collections::BTreeSet;

use super::Citation;

/// A mark longer than this is text in brackets.
const LONGEST_MARK_CHARS: usize = 24;

/// Takes text in pieces; gives it back without marks that cite what does not exist, and
/// with the citations of those that do.
pub(super) struct Scanner {
    passages: BTreeSet<u32>,
    /// What was read but not given back: it may turn out to be a mark.
    held: String,
    /// Code points given back so far.
    written: u32,
    /// Where the sentence that a mark would support began.
    sentence_start: u32,
    sentence_ended: bool,
    /// The last character given back.
    last: Option<char>,
}

/// What is safe to send on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) text: String,
    pub(super) citations: Vec<Citation>,
}

impl Scanner {
    /// `passages` are the numbers that may be cited.
    pub(super) fn new(passages: impl IntoIterator<Item = u32>) -> Self {
        Self {
            passages: passages.into_iter().collect(),
            held: String::new(),
            written: 0,
            sentence_start: 0,
            sentence_ended: false,
            last: None,
        }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &str) -> Scanned {
        let mut scanned = Scanned::default();
        for character in piece.chars() {
            match (self.held.is_empty(), character) {
                (true, '[') => self.held.push('['),
                (true, other) => self.write(other, &mut scanned),
                (false, ']') => {
                    self.held.push(']');
                    self.resolve(&mut scanned);
                }
                (false, '[') => {
                    self.release(&mut scanned);
                    self.held.push('[');
                }
                (false, other) => {
                    self.held.push(other);
                    let may_be_mark = other.is_ascii_digit() || matches!(other, ',' | ' ');
                    if !may_be_mark || self.held.len() > LONGEST_MARK_CHARS {
                        self.release(&mut scanned);
                    }
                }
            }
        }
        scanned
    }

    /// Gives back what was held when the answer ended.
    pub(super) fn finish(mut self) -> Scanned {
        let mut scanned = Scanned::default();
        self.release(&mut scanned);
        scanned
    }

    fn resolve(&mut self, scanned: &mut Scanned) {
        let inside = &self.held[1..self.held.len() - 1];
        let numbers: Option<Vec<u32>> = inside.split(',').map(|number| number.trim().parse().ok()).collect();
        let Some(numbers) = numbers else {
            self.release(scanned);
            return;
        };
        let known: Vec<u32> = numbers.into_iter().filter(|number| self.passages.contains(number)).collect();
        // `list[0]` is code that the model wrote, not a citation that it made up.
        let is_index = self.last.is_some_and(|last| last.is_alphanumeric() || last == '_');
        if known.is_empty() && is_index {
            self.release(scanned);
            return;
        }
        self.held.clear();
        if known.is_empty() {
            return;
        }
        let answer = self.sentence_start..self.written;
        let marks: Vec<String> = known.iter().map(u32::to_string).collect();
        for character in format!("[{}]", marks.join(", ")).chars() {
            self.give(character, scanned);
        }
        scanned.citations.extend(known.into_iter().map(|passage| Citation {
            passage,
            answer: answer.clone(),
            quote: String::new(),
        }));
        self.sentence_ended = true;
    }

    fn release(&mut self, scanned: &mut Scanned) {
        for character in std::mem::take(&mut self.held).chars() {
            self.write(character, scanned);
        }
    }

    fn write(&mut self, character: char, scanned: &mut Scanned) {
        // A sentence begins with the first letter after the end of the one before: marks
        // commonly follow the full stop that they belong to.
        if self.sentence_ended && character.is_alphanumeric() {
            self.sentence_start = self.written;
            self.sentence_ended = false;
        }
        if matches!(character, '.' | '!' | '?' | '\n' | '。') {
            self.sentence_ended = true;
        }
        self.give(character, scanned);
    }

    fn give(&mut self, character: char, scanned: &mut Scanned) {
        scanned.text.push(character);
        self.written += 1;
        self.last = Some(character);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(pieces: &[&str]) -> (String, Vec<(u32, String)>) {
        let mut scanner = Scanner::new([1, 2, 3]);
        let mut text = String::new();
        let mut citations = Vec::new();
        for piece in pieces {
            let scanned = scanner.push(piece);
            text.push_str(&scanned.text);
            citations.extend(scanned.citations);
        }
        text.push_str(&scanner.finish().text);
        let characters: Vec<char> = text.chars().collect();
        let cited = citations
            .into_iter()
            .map(|c| (c.passage, characters[c.answer.start as usize..c.answer.end as usize].iter().collect()))
            .collect();
        (text, cited)
    }

    #[test]
    fn marks_are_found_checked_and_placed() {
        /// Pieces, the text that is sent on, and which passage supports which part of it.
        type Case<'a> = (&'a [&'a str], &'a str, &'a [(u32, &'a str)]);
        let table: [Case<'_>; 8] = [
            (&["It rains. [1]"], "It rains. [1]", &[(1, "It rains. ")]),
            (
                &["It rains [", "2", "]. It snows [3]."],
                "It rains [2]. It snows [3].",
                &[(2, "It rains "), (3, "It snows ")],
            ),
            (&["Both [1, 3]."], "Both [1, 3].", &[(1, "Both "), (3, "Both ")]),
            (&["Two [1][2]."], "Two [1][2].", &[(1, "Two "), (2, "Two [1]")]),
            (&["Invented [9]."], "Invented .", &[]),
            (&["Half [9, 1]."], "Half [1].", &[(1, "Half ")]),
            (&["See [the docs](x) and a[0", "]"], "See [the docs](x) and a[0]", &[]),
            (&["An open ["], "An open [", &[]),
        ];
        for (pieces, text, cited) in table {
            let cited: Vec<(u32, String)> = cited.iter().map(|(n, s)| (*n, (*s).to_owned())).collect();
            assert_eq!(scan(pieces), (text.to_owned(), cited), "{pieces:?}");
        }
    }

    proptest! {
        #[test]
        fn where_pieces_are_cut_makes_no_difference(text in "[a-c \\[\\]123,.é]{0,60}", cut in 0usize..60) {
            let cut = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(text.len());
            prop_assert_eq!(scan(&[&text[..cut], &text[cut..]]), scan(&[&text]));
        }
    }
}
