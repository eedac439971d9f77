//! Compaction: many small fragments become one, so that neither a commit nor a search pays for their number.

use super::index::IndexState;
use super::{RowKey, TableFuture, VectorTable, failed};
use crate::failpoint::Failpoint;
use futures::FutureExt;
use lance::dataset::index::DatasetIndexRemapperOptions;
use lance::dataset::optimize::{CompactionOptions, CompactionTask, TaskData, commit_compaction};
use lance_table::format::Fragment;
use std::collections::BTreeMap;
use std::sync::Arc;

/// When and how far fragments are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactionBounds {
    /// Small fragments that are left alone. At least 16, or sizes that grow by doubling would never be merged.
    pub fragments: usize,
    /// Live rows that one pass rewrites at most. A fragment is small when it holds less than half of them.
    pub rows: usize,
}

/// The outcome of a pass.
#[derive(Debug)]
pub struct Compacted {
    /// The version that the pass made. It holds the same rows under the same ids.
    pub table: VectorTable,
    /// The rows that were rewritten, at their new places.
    pub moved: Vec<RowKey>,
}

impl VectorTable {
    /// Merges small fragments into one, where there are enough of them; `None` when there is nothing to do. Fragments up to
    /// `kept`, which an index that is being built may cover, are left alone, and only such as the same segment of the
    /// index covers, or none, are merged.
    ///
    /// The cost depends on the bounds alone. Fragments are chosen so that each row at least doubles the size of its
    /// fragment whenever it is rewritten, which bounds the rewriting over the table's life by a logarithm.
    ///
    /// # Errors
    /// Whatever Lance refuses. As with [`VectorTable::commit`], the version may have been made all the same.
    pub fn compact(&self, bounds: CompactionBounds, kept: Option<u64>) -> TableFuture<'_, Option<Compacted>> {
        async move {
            let free = self.dataset.fragments().iter().filter(|fragment| kept.is_none_or(|kept| fragment.id > kept));
            let fragments = choose(by_coverage(free, &self.index), bounds);
            if fragments.is_empty() {
                return Ok(None);
            }
            let options =
                CompactionOptions { target_rows_per_fragment: bounds.rows.max(1), ..CompactionOptions::default() };
            let task = CompactionTask {
                task: TaskData { fragments },
                read_version: self.own_version(),
                options: options.clone(),
            };
            let rewritten = task.execute(&self.dataset).await.map_err(failed("rewrite fragments"))?;
            Failpoint::InCompaction.reach();
            let mark = self.dataset.manifest().max_fragment_id();
            let mut dataset = (*self.dataset).clone();
            let remapping = Arc::new(DatasetIndexRemapperOptions::default());
            commit_compaction(&mut dataset, vec![rewritten], remapping, &options)
                .await
                .map_err(failed("commit rewritten fragments"))?;
            Failpoint::AfterCompaction.reach();
            let table = self.at(dataset).await?;
            let is_new = |fragment: &&Fragment| mark.is_none_or(|mark| fragment.id > mark);
            let fresh = table.dataset.fragments().iter().filter(is_new).cloned().collect();
            let moved = table.scan_keys_of(Some(fresh)).await?;
            Ok(Some(Compacted { table, moved }))
        }
        .boxed()
    }
}

/// Fragments that may be merged with each other.
fn by_coverage<'a>(fragments: impl Iterator<Item = &'a Fragment>, index: &IndexState) -> Vec<Vec<&'a Fragment>> {
    let mut groups: BTreeMap<Option<usize>, Vec<&Fragment>> = BTreeMap::new();
    for fragment in fragments {
        groups.entry(index.segment_of(fragment.id)).or_default().push(fragment);
    }
    groups.into_values().collect()
}

/// The fragments of the next pass, of the group that has most to merge, in the table's order; none when there is nothing to
/// do.
fn choose(groups: Vec<Vec<&Fragment>>, bounds: CompactionBounds) -> Vec<Fragment> {
    let groups = groups.into_iter().map(|fragments| small(fragments, bounds));
    let Some(small) = groups.max_by_key(Vec::len).filter(|small| small.len() > bounds.fragments) else {
        return Vec::new();
    };
    let sizes: Vec<usize> = small.iter().map(|(rows, _)| *rows).collect();
    let mut chosen: Vec<Fragment> =
        small[..mergeable(&sizes, bounds.rows)].iter().map(|(_, fragment)| (*fragment).clone()).collect();
    chosen.sort_by_key(|fragment| fragment.id);
    chosen
}

/// The small ones of some fragments with their rows, the smallest first.
fn small(fragments: Vec<&Fragment>, bounds: CompactionBounds) -> Vec<(usize, &Fragment)> {
    // A fragment without a count would have to be read for it; this program writes none.
    let mut small: Vec<(usize, &Fragment)> = fragments
        .into_iter()
        .filter_map(|fragment| fragment.num_rows().map(|rows| (rows, fragment)))
        .filter(|(rows, _)| *rows < bounds.rows / 2)
        .collect();
    small.sort_by_key(|(rows, fragment)| (*rows, fragment.id));
    small
}

/// How many of the smallest fragments to merge: the most that stay within `rows` together, and of which the largest is
/// no larger than all others together. `sizes` ascend.
fn mergeable(sizes: &[usize], rows: usize) -> usize {
    let mut sum = 0;
    let mut count = 0;
    for (index, size) in sizes.iter().enumerate() {
        if sum + size > rows {
            break;
        }
        if index > 0 && *size <= sum {
            count = index + 1;
        }
        sum += size;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_merged_while_each_row_gains() {
        let cases: [(&[usize], usize, usize); 8] = [
            (&[], 100, 0),
            (&[10], 100, 0),
            (&[10, 10], 100, 2),
            (&[10, 20], 100, 0),
            (&[10, 10, 10, 31], 100, 3),
            (&[10, 10, 10, 30], 100, 4),
            (&[10, 10, 10, 10], 25, 2),
            (&[0, 0, 5, 5], 100, 4),
        ];
        for (sizes, rows, count) in cases {
            assert_eq!(mergeable(sizes, rows), count, "{sizes:?} {rows}");
        }
    }

    proptest! {
        /// Commits of any sizes leave few small fragments, and rewrite each row a logarithmic number of times.
        #[test]
        fn any_history_stays_short_and_cheap(commits in prop::collection::vec(1..40_usize, 0..400)) {
            let bounds = CompactionBounds { fragments: 16, rows: 4_096 };
            let (mut sizes, mut written, mut rewritten) = (Vec::new(), 0, 0);
            for rows in commits {
                sizes.push(rows);
                written += rows;
                sizes.sort_unstable();
                let small = sizes.partition_point(|size| *size < bounds.rows / 2);
                if small > bounds.fragments {
                    let count = mergeable(&sizes[..small], bounds.rows);
                    prop_assert!(count >= 2, "there is always something to merge: {sizes:?}");
                    let merged: usize = sizes.drain(..count).sum();
                    prop_assert!(merged <= bounds.rows);
                    rewritten += merged;
                    sizes.push(merged);
                }
                prop_assert!(small <= bounds.fragments + 1);
            }
            prop_assert_eq!(sizes.iter().sum::<usize>(), written);
            // A row's fragment doubles with each rewriting, from 1 to 4,096 at most.
            prop_assert!(rewritten <= written * 12);
        }
    }
}
