//! Sets of rows, as one engine hands them to another.

/// Stable ids of rows, ascending and each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowIds {
    sorted: Vec<u64>,
}

impl RowIds {
    /// The set of these ids, which may come in any order. Ids that come in ascending runs take little time.
    pub fn new(mut ids: Vec<u64>) -> Self {
        // The stable sort finds runs and merges them; the index gives one for each of its segments.
        ids.sort();
        ids.dedup();
        Self { sorted: ids }
    }

    /// The ids, ascending.
    pub fn as_slice(&self) -> &[u64] {
        &self.sorted
    }
}

/// The places in `rows`, which is ascending, of those ids that are in both, in order.
///
/// Takes time in proportion to the shorter of the two where one is much shorter, and to both where they are alike.
pub fn common_places(rows: &[u64], ids: &RowIds) -> impl Iterator<Item = usize> {
    let first = rows.first().map_or(ids.sorted.len(), |first| seek(&ids.sorted, 0, *first));
    let mut place = 0;
    ids.sorted[first..]
        .iter()
        .map_while(move |id| {
            place = seek(rows, place, *id);
            let found = rows.get(place)?;
            Some((*found == *id).then_some(place))
        })
        .flatten()
}

/// The first place at or after `from` whose id is at least `id`. The steps grow, so that a near one is found fast.
fn seek(ids: &[u64], from: usize, id: u64) -> usize {
    let (mut low, mut step) = (from, 1);
    while ids.get(low + step - 1).is_some_and(|at| *at < id) {
        low += step;
        step *= 2;
    }
    let high = (low + step).min(ids.len());
    low + ids[low..high].partition_point(|at| *at < id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn common_places_are_those_of_a_plain_search(
            rows in prop::collection::btree_set(0..200_u64, 0..100),
            ids in prop::collection::vec(0..220_u64, 0..150),
        ) {
            let wanted: BTreeSet<u64> = ids.iter().copied().collect();
            let rows: Vec<u64> = rows.into_iter().collect();
            let plain: Vec<usize> = (0..rows.len()).filter(|place| wanted.contains(&rows[*place])).collect();
            let ids = RowIds::new(ids);
            prop_assert_eq!(ids.as_slice(), &wanted.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(common_places(&rows, &ids).collect::<Vec<_>>(), plain);
        }
    }

    #[test]
    fn few_ids_are_found_among_many_rows() {
        let rows: Vec<u64> = (0..100_000).map(|n| n * 3).collect();
        let ids = RowIds::new(vec![299_997, 0, 1, 150_000, 400_000]);
        assert_eq!(common_places(&rows, &ids).collect::<Vec<_>>(), [0, 50_000, 99_999]);
        assert_eq!(common_places(&[], &ids).count(), 0);
    }
}
