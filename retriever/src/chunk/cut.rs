//! Finds where a stretch of text may be cut.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// How far around the wished place a cut between words or graphemes is looked for.
const WINDOW_BYTES: usize = 128;

/// Cuts `range` after sentences, or after lines where `by_line` is set. Parts shorter than `min_bytes` are joined with
/// what follows them.
pub(super) fn seams(text: &str, range: Range<usize>, by_line: bool, min_bytes: usize) -> Vec<Range<usize>> {
    let slice = &text[range.clone()];
    let mut parts = Parts { parts: Vec::new(), start: range.start, min_bytes };
    if by_line {
        slice.split_inclusive('\n').for_each(|line| parts.push(line.len()));
    } else {
        // A line end is no sentence end in wrapped prose; both characters are one byte long, so lengths are kept.
        slice.replace('\n', " ").split_sentence_bounds().for_each(|sentence| parts.push(sentence.len()));
    }
    parts.finish(range.end)
}

struct Parts {
    parts: Vec<Range<usize>>,
    start: usize,
    min_bytes: usize,
}

impl Parts {
    /// Takes the next `len` bytes; they extend the last part while that is short.
    fn push(&mut self, len: usize) {
        let end = self.start + len;
        match self.parts.last_mut() {
            Some(last) if last.len() < self.min_bytes => last.end = end,
            _ => self.parts.push(self.start..end),
        }
        self.start = end;
    }

    fn finish(mut self, end: usize) -> Vec<Range<usize>> {
        // A short rest joins the part before it rather than standing alone.
        if self.parts.len() > 1 && self.parts.last().is_some_and(|last| last.len() < self.min_bytes) {
            self.parts.pop();
            if let Some(last) = self.parts.last_mut() {
                last.end = end;
            }
        }
        self.parts
    }
}

/// Where to cut `range` in two so that both can be cut further into `parts` equal parts, at least 2, altogether: after a
/// line if one ends nearby, else after white space, else between graphemes, else between code points. `None` when
/// `range` is a single code point.
pub(super) fn even(text: &str, range: &Range<usize>, parts: usize) -> Option<usize> {
    let parts = parts.max(2);
    let middle = text.floor_char_boundary(range.start + range.len() / parts * (parts / 2));
    let window_start = text.floor_char_boundary(middle.saturating_sub(WINDOW_BYTES)).max(range.start);
    let window_end = text.floor_char_boundary(middle + WINDOW_BYTES).min(range.end);
    let window = &text[window_start..window_end];
    let nearest = |cuts: &mut dyn Iterator<Item = usize>| {
        cuts.map(|cut| window_start + cut)
            .filter(|&cut| cut > range.start && cut < range.end)
            .min_by_key(|cut| cut.abs_diff(middle))
    };
    let after =
        |is_seam: fn(char) -> bool| nearest(&mut window.match_indices(is_seam).map(|(at, seam)| at + seam.len()));
    after(|character| character == '\n')
        .or_else(|| after(char::is_whitespace))
        // The window may begin inside a grapheme, so its own start is no boundary.
        .or_else(|| nearest(&mut window.grapheme_indices(true).map(|(at, _)| at).skip(1)))
        .or_else(|| nearest(&mut window.char_indices().map(|(at, _)| at)))
}
