//! Puts neighbouring atoms together into chunks.

use std::ops::Range;

use super::Document;
use super::prefix::Prefixes;
use super::split::Atom;

/// The range of one chunk.
#[derive(Clone, Debug)]
pub(super) struct Merged {
    pub range: Range<usize>,
    /// The section that is open in front of the chunk.
    pub before: Option<usize>,
    /// The section in which it starts.
    pub at: Option<usize>,
}

/// Merges greedily from front to back. The tokens of a chunk are the sum of those of its atoms, which are not counted
/// again.
pub(super) fn merge(document: &Document<'_, '_>, prefixes: &mut Prefixes<'_, '_>, atoms: &[Atom]) -> Vec<Merged> {
    let mut merged: Vec<Merged> = Vec::new();
    let mut open: Option<Open> = None;
    for (index, atom) in atoms.iter().enumerate() {
        let joins = open.as_ref().is_some_and(|open| open.takes(document, &atoms[index..]));
        match (&mut open, merged.last_mut()) {
            (Some(open), Some(last)) if joins => {
                open.tokens += atom.tokens;
                last.range.end = atom.range.end;
                open.bytes = last.range.len();
            }
            _ => {
                let limit = document.max_tokens() - prefixes.of(atom.before).tokens;
                open = Some(Open { limit, tokens: atom.tokens, bytes: atom.range.len() });
                merged.push(Merged { range: atom.range.clone(), before: atom.before, at: atom.section() });
            }
        }
    }
    merged
}

/// The chunk that is being filled.
struct Open {
    limit: usize,
    tokens: usize,
    bytes: usize,
}

impl Open {
    /// Whether the first of `atoms` goes into this chunk. A heading goes only where what it heads can follow.
    fn takes(&self, document: &Document<'_, '_>, atoms: &[Atom]) -> bool {
        let Some(first) = atoms.first() else { return false };
        let fits = |tokens: usize, bytes: usize| {
            self.tokens + tokens <= self.limit && self.bytes + bytes <= document.max_bytes()
        };
        if first.opens.is_none() || self.tokens == 0 {
            return fits(first.tokens, first.range.len());
        }
        let full = self.tokens as f32 >= document.options.section_fill * self.limit as f32;
        let (tokens, bytes) = with_what_it_heads(atoms);
        !full && fits(tokens, bytes)
    }
}

/// Tokens and bytes of the headings at the front of `atoms` and of the atom after them.
fn with_what_it_heads(atoms: &[Atom]) -> (usize, usize) {
    let headings = atoms.iter().take_while(|atom| atom.opens.is_some()).take(MAX_HEADINGS_AHEAD).count();
    let taken = &atoms[..atoms.len().min(headings + 1)];
    (taken.iter().map(|atom| atom.tokens).sum(), taken.iter().map(|atom| atom.range.len()).sum())
}

/// Looking further ahead would make a document of nothing but headings quadratic.
const MAX_HEADINGS_AHEAD: usize = 6;
