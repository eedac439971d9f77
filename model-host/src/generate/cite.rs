//! Finds citation marks in an answer that arrives in pieces. Pure.

mod sentence;

use std::collections::{BTreeMap, BTreeSet};

use self::sentence::Sentence;
use super::support::{Evidence, support};
use super::{Citation, Passage};

/// A mark longer than this, with the spaces before it, is text in brackets.
const LONGEST_MARK_BYTES: usize = 32;

/// Takes text in pieces; gives it back without marks that cite what does not exist, and
/// with the citations of those that do, each checked against its passage.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    passages: BTreeMap<u32, Evidence>,
    /// What was read but not given back: spaces, and a bracket that may turn out to open a mark.
    held: String,
    /// Code points given back so far.
    written: u32,
    sentence: Sentence,
    code: Code,
    /// The last character given back.
    last: Option<char>,
    unknown: BTreeSet<u32>,
}

/// Whether the text is inside code, where brackets are no marks.
#[derive(Debug, Default)]
struct Code {
    /// Backticks in a row up to here.
    ticks: usize,
    /// How many backticks opened the code that the text is in.
    opened_by: Option<usize>,
}

/// What is safe to send on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) text: String,
    pub(super) citations: Vec<Citation>,
}

impl Scanner {
    /// `passages` are those that may be cited.
    pub(super) fn new(passages: &[Passage]) -> Self {
        let evidence = |passage: &Passage| (passage.number, Evidence::new(&passage.title, &passage.text));
        Self { passages: passages.iter().map(evidence).collect(), ..Self::default() }
    }

    /// Takes the next piece.
    pub(super) fn push(&mut self, piece: &str) -> Scanned {
        let mut scanned = Scanned::default();
        for character in piece.chars() {
            self.code.follow(character);
            if !self.hold(character, &mut scanned) {
                self.release(&mut scanned);
                // It may open a mark of its own.
                if !self.hold(character, &mut scanned) {
                    self.write(character, &mut scanned);
                }
            }
        }
        scanned
    }

    /// Gives back what was held when the answer ended, and the numbers that were cited and
    /// do not exist.
    pub(super) fn finish(mut self) -> (Scanned, Vec<u32>) {
        let mut scanned = Scanned::default();
        self.release(&mut scanned);
        (scanned, self.unknown.into_iter().collect())
    }

    /// Holds the character back if it can belong to a mark, after what is held already; a
    /// mark that is complete is resolved. Says whether the character was taken.
    fn hold(&mut self, character: char, scanned: &mut Scanned) -> bool {
        if self.held.len() >= LONGEST_MARK_BYTES {
            return false;
        }
        let is_open = self.held.contains('[');
        let belongs = match character {
            ']' | '0'..='9' | ',' => is_open,
            ' ' => is_open || !self.code.is_inside(),
            '[' => !is_open && !self.code.is_inside(),
            _ => false,
        };
        if belongs {
            self.held.push(character);
        }
        if belongs && character == ']' {
            self.resolve(scanned);
        }
        belongs
    }

    fn resolve(&mut self, scanned: &mut Scanned) {
        let Some(cited) = numbers(&self.held) else {
            self.release(scanned);
            return;
        };
        let (known, unknown): (BTreeSet<u32>, BTreeSet<u32>) =
            cited.into_iter().partition(|number| self.passages.contains_key(number));
        // `list[0]` is code that the model wrote, not a citation that it made up.
        let is_index = self.held.starts_with('[') && self.last.is_some_and(|c| c.is_alphanumeric() || c == '_');
        if known.is_empty() && is_index {
            self.release(scanned);
            return;
        }
        self.unknown.extend(unknown);
        let held = std::mem::take(&mut self.held);
        if known.is_empty() {
            // The space before a mark goes with it.
            return;
        }
        for space in held.chars().take_while(|character| *character == ' ') {
            self.write(space, scanned);
        }
        self.cite(&known, scanned);
    }

    fn cite(&mut self, passages: &BTreeSet<u32>, scanned: &mut Scanned) {
        let evidence: Vec<&Evidence> = passages.iter().filter_map(|number| self.passages.get(number)).collect();
        let support = support(self.sentence.text(), &evidence);
        scanned.citations.extend(passages.iter().zip(support).map(|(&passage, support)| Citation {
            passage,
            answer: self.sentence.range(),
            quote: String::new(),
            support,
        }));
        let marks: Vec<String> = passages.iter().map(u32::to_string).collect();
        for character in format!("[{}]", marks.join(", ")).chars() {
            self.give(character, scanned);
        }
        self.sentence.close();
    }

    fn release(&mut self, scanned: &mut Scanned) {
        for character in std::mem::take(&mut self.held).chars() {
            self.write(character, scanned);
        }
    }

    fn write(&mut self, character: char, scanned: &mut Scanned) {
        self.sentence.push(character, self.written);
        self.give(character, scanned);
    }

    fn give(&mut self, character: char, scanned: &mut Scanned) {
        scanned.text.push(character);
        self.written = self.written.saturating_add(1);
        self.last = Some(character);
    }
}

/// The numbers of a mark such as ` [1, 2]`; `None` when it is none.
fn numbers(mark: &str) -> Option<Vec<u32>> {
    let inside = mark.trim_start().strip_prefix('[')?.strip_suffix(']')?;
    inside.split(',').map(|number| number.trim().parse().ok()).collect()
}

impl Code {
    fn is_inside(&self) -> bool {
        self.opened_by.is_some()
    }

    /// Keeps step with the text: as many backticks as opened code close it, and code within
    /// a line does not outlive the line.
    fn follow(&mut self, character: char) {
        if character == '`' {
            self.ticks += 1;
            return;
        }
        match (std::mem::take(&mut self.ticks), self.opened_by) {
            (0, _) => {}
            (ticks, None) => self.opened_by = Some(ticks),
            (ticks, Some(opening)) if ticks == opening => self.opened_by = None,
            _ => {}
        }
        if character == '\n' && self.opened_by.is_some_and(|ticks| ticks < 3) {
            self.opened_by = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::generate::Support;

    /// What a scan gave: the text, each citation with the text that it supports, and the
    /// numbers that do not exist.
    type Found = (String, Vec<(u32, String)>, Vec<u32>);

    fn passages() -> Vec<Passage> {
        let passage =
            |number, text: &str| Passage { number, title: String::new(), uri: String::new(), text: text.to_owned() };
        vec![passage(1, "It rains in spring."), passage(2, "It rains a lot."), passage(3, "It snows.")]
    }

    fn citations(pieces: &[&str]) -> (String, Vec<Citation>, Vec<u32>) {
        let mut scanner = Scanner::new(&passages());
        let mut text = String::new();
        let mut citations = Vec::new();
        for piece in pieces {
            let scanned = scanner.push(piece);
            text.push_str(&scanned.text);
            citations.extend(scanned.citations);
        }
        let (last, unknown) = scanner.finish();
        assert!(last.citations.is_empty());
        (text + &last.text, citations, unknown)
    }

    fn scan(pieces: &[&str]) -> Found {
        let (text, citations, unknown) = citations(pieces);
        let characters: Vec<char> = text.chars().collect();
        let cited = citations
            .into_iter()
            .map(|c| (c.passage, characters[c.answer.start as usize..c.answer.end as usize].iter().collect()))
            .collect();
        (text, cited, unknown)
    }

    #[test]
    fn marks_are_found_checked_and_placed() {
        /// Pieces, the text that is sent on, which passage supports which part of it, and
        /// what is cited and does not exist.
        type Case<'a> = (&'a [&'a str], &'a str, &'a [(u32, &'a str)], &'a [u32]);
        let table: [Case<'_>; 17] = [
            (&["It rains. [1]"], "It rains. [1]", &[(1, "It rains.")], &[]),
            (
                &["It rains [", "2", "]. It snows [3]."],
                "It rains [2]. It snows [3].",
                &[(2, "It rains"), (3, "It snows")],
                &[],
            ),
            (&["Both [1, 3]."], "Both [1, 3].", &[(1, "Both"), (3, "Both")], &[]),
            (&["Both [3,1 , 3]."], "Both [1, 3].", &[(1, "Both"), (3, "Both")], &[]),
            (&["Two [1][2]."], "Two [1][2].", &[(1, "Two"), (2, "Two")], &[]),
            (&["Two [1] [2]."], "Two [1] [2].", &[(1, "Two"), (2, "Two")], &[]),
            (&["Invented [9]."], "Invented.", &[], &[9]),
            (&["Half [9, 1]."], "Half [1].", &[(1, "Half")], &[9]),
            (&["It is 3.5 m, e.g. Here [1]"], "It is 3.5 m, e.g. Here [1]", &[(1, "It is 3.5 m, e.g. Here")], &[]),
            (&["One. Two \"x.\" Three [1]"], "One. Two \"x.\" Three [1]", &[(1, "Three")], &[]),
            (&["A\nB [1]"], "A\nB [1]", &[(1, "B")], &[]),
            (&["雨。雪 [3]"], "雨。雪 [3]", &[(3, "雪")], &[]),
            (&["[1] says"], "[1] says", &[(1, "")], &[]),
            (&["See [the docs](x) and a[0", "]"], "See [the docs](x) and a[0]", &[], &[]),
            (&["Run `x [1]` now [1]"], "Run `x [1]` now [1]", &[(1, "Run `x [1]` now")], &[]),
            (&["```\na = [1]\n``", "`\nDone [2]"], "```\na = [1]\n```\nDone [2]", &[(2, "Done")], &[]),
            (&["An open  ["], "An open  [", &[], &[]),
        ];
        for (pieces, text, cited, unknown) in table {
            let cited: Vec<(u32, String)> = cited.iter().map(|(n, s)| (*n, (*s).to_owned())).collect();
            assert_eq!(scan(pieces), (text.to_owned(), cited, unknown.to_vec()), "{pieces:?}");
        }
    }

    #[test]
    fn a_citation_says_whether_it_holds() {
        let supports = |text: &str| citations(&[text]).1.iter().map(|c| c.support).collect::<Vec<_>>();
        assert_eq!(supports("It rains in spring [1]. It rains in autumn [3]."), [Support::Holds, Support::Doubtful]);
        assert_eq!(supports("[1]"), [Support::Unchecked]);
    }

    proptest! {
        #[test]
        fn where_pieces_are_cut_makes_no_difference(
            text in "[a-c \\[\\]123,.é`\n]{0,60}",
            cuts in proptest::collection::vec(0usize..60, 0..5),
        ) {
            let mut ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            ends.retain(|at| *at == 0 || *at == text.len() || cuts.contains(at));
            ends.insert(0, 0);
            let pieces: Vec<&str> = ends.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect();
            prop_assert_eq!(scan(&pieces), scan(&[&text]));
        }

        #[test]
        fn only_marks_are_changed(text in "[a-c \\[\\]19,.`]{0,60}") {
            let (found, cited, unknown) = scan(&[&text]);
            if unknown.is_empty() && cited.is_empty() {
                prop_assert_eq!(&found, &text);
            }
            let bare = |text: &str| text.replace(|c: char| !c.is_ascii_lowercase() && c != '.', "");
            prop_assert_eq!(bare(&found), bare(&text));
            prop_assert!(cited.iter().all(|(number, _)| *number == 1));
        }
    }
}
