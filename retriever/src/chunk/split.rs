//! Cuts a document into atoms: pieces that fit into a chunk, and that are not cut any further.

use std::ops::Range;

use super::prefix::Prefixes;
use super::{Document, cut};
use crate::extract::{Block, BlockKind};

/// A piece of the text with the number of its tokens.
#[derive(Clone, Debug)]
pub(super) struct Atom {
    pub range: Range<usize>,
    pub tokens: usize,
    /// The section that is open in front of it.
    pub before: Option<usize>,
    /// The section that it opens, if it is a heading.
    pub opens: Option<usize>,
}

impl Atom {
    /// The section in which it lies; a heading lies in its own.
    pub fn section(&self) -> Option<usize> {
        self.opens.or(self.before)
    }
}

/// The atoms of the whole document, which tile it. Each fits into a chunk of its own, together with the heading right
/// before it where that is short.
pub(super) fn atoms(document: &Document<'_, '_>, prefixes: &mut Prefixes<'_, '_>) -> Vec<Atom> {
    let blocks = document.outline.blocks();
    let ends = blocks.iter().skip(1).map(|block| block.start).chain([document.text.len()]);
    let mut splitter = Splitter { document, atoms: Vec::new() };
    let mut heading_tokens = 0;
    for (block, end) in blocks.iter().zip(ends) {
        let limit = document.max_tokens() - prefix_tokens(block, prefixes);
        // Room for the heading is kept only while the block itself has most of the chunk.
        let room = if heading_tokens <= limit / 2 { limit - heading_tokens } else { limit };
        let first = splitter.atoms.len();
        splitter.block(block, block.start..end, room);
        let tokens = splitter.atoms[first..].iter().map(|atom| atom.tokens).sum::<usize>();
        heading_tokens = if matches!(block.kind, BlockKind::Heading(_)) { heading_tokens + tokens } else { 0 };
    }
    splitter.atoms
}

/// The longest prefix of a chunk that starts in `block`. Of an endless heading, the rest lies below its start.
fn prefix_tokens(block: &Block, prefixes: &mut Prefixes<'_, '_>) -> usize {
    let before = prefixes.of(block.section).tokens;
    match block.kind {
        BlockKind::Heading(section) => before.max(prefixes.of(Some(section)).tokens),
        BlockKind::Prose | BlockKind::Lines => before,
    }
}

struct Splitter<'d, 'a> {
    document: &'d Document<'a, 'd>,
    atoms: Vec<Atom>,
}

impl Splitter<'_, '_> {
    fn block(&mut self, block: &Block, range: Range<usize>, limit: usize) {
        if self.count_if_small(&range).is_some_and(|tokens| self.keep_if_it_fits(block, &range, tokens, limit)) {
            return;
        }
        let by_line = block.kind == BlockKind::Lines;
        for part in cut::seams(self.document.text, range, by_line, limit / 4) {
            self.cut_evenly(block, part, limit);
        }
    }

    /// Cuts `range` in two again and again until all parts fit.
    fn cut_evenly(&mut self, block: &Block, range: Range<usize>, limit: usize) {
        let mut todo = vec![range];
        while let Some(range) = todo.pop() {
            let tokens = self.count_if_small(&range);
            if tokens.is_some_and(|tokens| self.keep_if_it_fits(block, &range, tokens, limit)) {
                continue;
            }
            // Parts are planned a little below the limit, since tokens are not spread evenly.
            let parts = tokens.map_or(2, |tokens| (tokens + tokens / 16).div_ceil(limit.max(1)));
            match cut::even(self.document.text, &range, parts) {
                Some(cut) => todo.extend([cut..range.end, range.start..cut]),
                None => self.keep(block, range.clone(), self.document.count(range)),
            }
        }
    }

    /// What is too long anyway is not counted, so that no call of the counter gets a huge text.
    fn count_if_small(&self, range: &Range<usize>) -> Option<usize> {
        (range.len() <= self.document.max_bytes()).then(|| self.document.count(range.clone()))
    }

    fn keep_if_it_fits(&mut self, block: &Block, range: &Range<usize>, tokens: usize, limit: usize) -> bool {
        let fits = tokens <= limit;
        if fits {
            self.keep(block, range.clone(), tokens);
        }
        fits
    }

    fn keep(&mut self, block: &Block, range: Range<usize>, tokens: usize) {
        let opens = match block.kind {
            BlockKind::Heading(section) if range.start == block.start => Some(section),
            _ => None,
        };
        // What follows the first part of an endless heading lies below that heading.
        let before = match block.kind {
            BlockKind::Heading(section) if opens.is_none() => Some(section),
            _ => block.section,
        };
        self.atoms.push(Atom { range, tokens, before, opens });
    }
}
