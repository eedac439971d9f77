//! Grouping a ranking of chunks by document.

use std::collections::HashSet;
use std::hash::Hash;

/// Keeps the first item of each group, in the order of the ranking.
///
/// Given chunks best first and a function that names a chunk's document, what
/// remains is the best chunk of each document, best document first. The result
/// is lazy: taking the first k documents looks no further than it must.
pub fn best_per_group<T, G: Eq + Hash>(
    ranking: impl IntoIterator<Item = T>,
    group_of: impl Fn(&T) -> G,
) -> impl Iterator<Item = T> {
    let mut seen = HashSet::new();
    ranking.into_iter().filter(move |item| seen.insert(group_of(item)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_chunk_of_each_document_stays_in_order() {
        let chunks = ["b/2", "a/1", "b/1", "c/7", "a/2"];
        let best: Vec<_> = best_per_group(chunks, |chunk| chunk.split('/').next()).collect();
        assert_eq!(best, ["b/2", "a/1", "c/7"]);
    }

    #[test]
    fn an_empty_ranking_has_no_groups() {
        assert_eq!(best_per_group(Vec::<u32>::new(), |item| *item).count(), 0);
    }

    #[test]
    fn no_more_is_read_than_is_taken() {
        let best: Vec<u32> = best_per_group(0.., |item| item / 10).take(3).collect();
        assert_eq!(best, [0, 10, 20]);
    }
}
