//! The encoder with its classification head: the forward pass and, by hand, the backward pass.
//!
//! The texts of a batch lie one after the other without padding: all parts but attention see a
//! list of tokens, and attention goes text by text.

mod backward;
mod forward;
mod work;

#[cfg(test)]
mod tests;

use crate::kernels::Gemm;
use crate::layout::{Architecture, Layout};
use crate::ops::attention::Grouping;

pub(crate) use work::Work;

/// Texts as token numbers, one after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ragged {
    tokens: Vec<u32>,
    positions: Vec<u32>,
    lengths: Vec<usize>,
}

impl Ragged {
    /// Puts texts together. Each has at least one token.
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut ragged = Self::default();
        for text in texts {
            ragged.tokens.extend_from_slice(text);
            ragged.positions.extend(0..text.len() as u32);
            ragged.lengths.push(text.len());
        }
        ragged
    }

    /// Texts.
    pub(crate) fn texts(&self) -> usize {
        self.lengths.len()
    }
}

/// A network of a given size. It holds no weights.
pub(crate) struct Network {
    sizes: Architecture,
    layout: Layout,
    gemm: Gemm,
}

impl Network {
    pub(crate) fn new(sizes: Architecture) -> Self {
        let layout = Layout::new(&sizes);
        Self { sizes, layout, gemm: Gemm::default() }
    }

    pub(crate) fn sizes(&self) -> &Architecture {
        &self.sizes
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    fn grouping<'a>(&self, batch: &'a Ragged) -> Grouping<'a> {
        Grouping { lengths: &batch.lengths, width: self.sizes.width, heads: self.sizes.heads }
    }
}

/// The numbers of the places where dropout acts.
mod site {
    pub(super) const EMBEDDED: u64 = 0;
    pub(super) const POOLED: u64 = 1;

    pub(super) fn attention(layer: usize) -> u64 {
        first(layer)
    }

    pub(super) fn merged(layer: usize) -> u64 {
        first(layer) + 1
    }

    pub(super) fn reduced(layer: usize) -> u64 {
        first(layer) + 2
    }

    fn first(layer: usize) -> u64 {
        2 + 3 * layer as u64
    }
}
