//! Keeping the best of many.

use crate::vector::VectorHit;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The best hits so far, the worst of them on top.
pub(super) struct Best {
    hits: BinaryHeap<Reverse<Ranked>>,
    k: usize,
}

impl Best {
    pub(super) fn of(k: usize) -> Self {
        Self { hits: BinaryHeap::new(), k }
    }

    /// Whether a row of that similarity could be among the best. Rows come by ascending id, so that of two equal ones
    /// the first stays.
    pub(super) fn wants(&self, similarity: f32) -> bool {
        match self.hits.peek() {
            Some(Reverse(worst)) if self.hits.len() >= self.k => similarity > worst.0.similarity,
            _ => self.k > 0,
        }
    }

    pub(super) fn add(&mut self, hit: VectorHit) {
        if self.hits.len() >= self.k {
            self.hits.pop();
        }
        self.hits.push(Reverse(Ranked(hit)));
    }

    pub(super) fn into_sorted(self) -> Vec<VectorHit> {
        // Ascending order of the reversed is descending order of the hits.
        self.hits.into_sorted_vec().into_iter().map(|Reverse(Ranked(hit))| hit).collect()
    }
}

/// Orders hits from worst to best.
#[derive(PartialEq)]
struct Ranked(VectorHit);

impl Eq for Ranked {}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.similarity.total_cmp(&other.0.similarity).then(other.0.row_id.cmp(&self.0.row_id))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The `k`-th largest of the numbers that were added.
pub(super) struct KthLargest {
    largest: BinaryHeap<Reverse<Total>>,
    k: usize,
}

impl KthLargest {
    pub(super) fn of(k: usize) -> Self {
        Self { largest: BinaryHeap::with_capacity(k.min(4_096)), k }
    }

    pub(super) fn add(&mut self, number: f32) {
        if self.largest.len() < self.k {
            self.largest.push(Reverse(Total(number)));
        } else if self.largest.peek().is_some_and(|Reverse(Total(least))| number > *least) {
            self.largest.pop();
            self.largest.push(Reverse(Total(number)));
        }
    }

    /// The `k` largest, or all while fewer were added, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = f32> {
        self.largest.iter().map(|Reverse(Total(number))| *number)
    }

    /// Negative infinity while fewer were added.
    pub(super) fn get(&self) -> f32 {
        match self.largest.peek() {
            Some(Reverse(Total(least))) if self.largest.len() == self.k => *least,
            _ => f32::NEG_INFINITY,
        }
    }
}

/// A number in the total order of its kind.
#[derive(PartialEq)]
struct Total(f32);

impl Eq for Total {}

impl Ord for Total {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Total {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_kth_largest_is_that_of_a_sorted_list(numbers in prop::collection::vec(-9_i8..9, 0..40), k in 1..12_usize) {
            let mut kth = KthLargest::of(k);
            let mut sorted: Vec<f32> = numbers.iter().map(|number| f32::from(*number)).collect();
            sorted.iter().for_each(|number| kth.add(*number));
            sorted.sort_by(|a, b| b.total_cmp(a));
            prop_assert_eq!(kth.get(), sorted.get(k - 1).copied().unwrap_or(f32::NEG_INFINITY));
        }
    }
}
