//! Keeping the best of many.

use crate::vector::VectorHit;
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// The best hits so far, the worst of them on top. Of hits of equal similarity those with the smallest ids are the best.
pub(super) struct Best {
    hits: BinaryHeap<Reverse<Ranked>>,
    k: usize,
}

impl Best {
    pub(super) fn of(k: usize) -> Self {
        Self { hits: BinaryHeap::new(), k }
    }

    /// Takes a hit that is among the best so far. Hits may come in any order.
    pub(super) fn add(&mut self, hit: VectorHit) {
        let hit = Reverse(Ranked(hit));
        if self.hits.len() < self.k {
            self.hits.push(hit);
        } else if let Some(mut worst) = self.hits.peek_mut()
            && hit < *worst
        {
            *worst = hit;
        }
    }

    /// The similarity of the worst hit; `None` while there is room for any.
    pub(super) fn worst(&self) -> Option<f32> {
        let Reverse(Ranked(worst)) = self.hits.peek().filter(|_| self.hits.len() >= self.k)?;
        Some(worst.similarity)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_best_are_those_of_a_sorted_list(numbers in prop::collection::vec((-9_i8..9, 0..99_u64), 0..40), k in 0..12_usize) {
            let hits = numbers.into_iter().map(|(number, row_id)| VectorHit { row_id, similarity: f32::from(number) });
            let mut sorted: Vec<VectorHit> = hits.collect();
            let mut best = Best::of(k);
            sorted.iter().for_each(|hit| best.add(*hit));
            sorted.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row_id.cmp(&b.row_id)));
            let worst = k.checked_sub(1).and_then(|last| sorted.get(last)).map(|hit| hit.similarity);
            prop_assert_eq!(best.worst(), worst);
            sorted.truncate(k);
            prop_assert_eq!(best.into_sorted(), sorted);
        }
    }
}
