//! Token vectors of recent searches, kept in memory.
//!
//! A second stage reads a few rows from all over the table, and each of them costs many times what comparing it does. The same
//! passages are candidates again and again. What a row holds never changes, and its id is given to no other row of its
//! table; so nothing that is kept here can be out of date.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The token vectors of one row, one after another.
pub type RowTokens = Arc<[i8]>;

/// Bytes that an entry takes beside its numbers, about.
const ENTRY_BYTES: usize = 128;

/// Token vectors of rows of all tables of a process, the rarely wanted ones dropped first. Cheap to clone.
#[derive(Clone)]
pub(in super::super) struct KeptTokens(moka::sync::Cache<(Arc<str>, u64), RowTokens>);

impl KeptTokens {
    /// Keeps about this many bytes; 0 for none.
    pub(in super::super) fn new(bytes: u64) -> Self {
        let weigh =
            |_: &(Arc<str>, u64), tokens: &RowTokens| u32::try_from(ENTRY_BYTES + tokens.len()).unwrap_or(u32::MAX);
        Self(moka::sync::Cache::builder().max_capacity(bytes).weigher(weigh).build())
    }

    /// What is kept of these rows.
    pub(super) fn get(&self, table_id: &Arc<str>, row_ids: &[u64]) -> HashMap<u64, RowTokens> {
        let kept = |row_id: &u64| Some((*row_id, self.0.get(&(table_id.clone(), *row_id))?));
        row_ids.iter().filter_map(kept).collect()
    }

    pub(super) fn keep(&self, table_id: &Arc<str>, row_id: u64, tokens: &RowTokens) {
        self.0.insert((table_id.clone(), row_id), tokens.clone());
    }

    /// Drops everything, before this returns.
    pub(in super::super) fn clear(&self) {
        self.0.invalidate_all();
        self.0.run_pending_tasks();
    }
}

impl fmt::Debug for KeptTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptTokens").field("rows", &self.0.entry_count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_tables_are_other_rows_and_nothing_outlives_a_clearing() {
        let kept = KeptTokens::new(1 << 20);
        let [first, second]: [Arc<str>; 2] = ["first".into(), "second".into()];
        kept.keep(&first, 1, &[1, 2].into());
        kept.keep(&second, 1, &[3].into());
        assert_eq!(kept.get(&first, &[1, 2]), HashMap::from([(1, [1, 2].into())]));
        assert_eq!(kept.get(&second, &[1]), HashMap::from([(1, [3].into())]));
        kept.clear();
        assert_eq!((kept.get(&first, &[1]).len(), kept.0.entry_count()), (0, 0));
    }

    #[test]
    fn no_more_is_kept_than_asked_for() {
        let table: Arc<str> = "t".into();
        for (bytes, most) in [(0, 0), (10_000, 9)] {
            let kept = KeptTokens::new(bytes);
            (0..200).for_each(|row| kept.keep(&table, row, &vec![7; 1_000].into()));
            kept.0.run_pending_tasks();
            let rows = kept.get(&table, &(0..200).collect::<Vec<_>>()).len();
            assert!(rows <= most && (rows > 0) == (most > 0), "{rows} rows of 1,000 bytes in {bytes}");
        }
    }
}
