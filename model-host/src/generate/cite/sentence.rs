//! The sentence that a mark stands for, followed character by character. Pure.

use std::ops::Range;

use super::super::sentences::{ends_sentence, is_closing};

/// The sentence under way, as far as it was given back.
#[derive(Debug, Default)]
pub(super) struct Sentence {
    text: String,
    /// Where it begins and ends in the answer, in code points; marks and white space around
    /// it are left out.
    start: u32,
    end: u32,
    /// A mark or the end of a line closed it: the next word begins another.
    is_closed: bool,
}

impl Sentence {
    /// Takes the character that stands at `at` in the answer.
    pub(super) fn push(&mut self, character: char, at: u32) {
        if character.is_alphanumeric() && (self.is_closed || self.has_ended_before(character)) {
            *self = Self { start: at, end: at, ..Self::default() };
        }
        self.is_closed |= matches!(character, '\n' | '。' | '！' | '？');
        if character.is_whitespace() && self.text.is_empty() {
            self.start = at.saturating_add(1);
            self.end = self.start;
            return;
        }
        self.text.push(character);
        if !character.is_whitespace() {
            self.end = at.saturating_add(1);
        }
    }

    /// Its text so far.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Where it stands in the answer.
    pub(super) fn range(&self) -> Range<u32> {
        self.start..self.end
    }

    /// Ends it: what comes next is another sentence.
    pub(super) fn close(&mut self) {
        self.is_closed = true;
    }

    /// Whether it was complete before `next`, by the rules for passages.
    fn has_ended_before(&self, next: char) -> bool {
        let body = self.text.trim_end();
        let is_end = |character: char| is_closing(character) || character == '…';
        let words = body.trim_end_matches(is_end).len();
        let is_stop = |character: char| matches!(character, '.' | '!' | '?' | '…');
        let Some(stop) = body[words..].find(is_stop).map(|at| words + at) else { return false };
        let character = body[stop..].chars().next().unwrap_or('.');
        ends_sentence(&body[..stop], character, &format!("{}{next}", &self.text[body.len()..]))
    }
}
