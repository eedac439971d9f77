//! Bringing the lexical index in step with its table, when a collection is opened and after anything unusual.
//!
//! The index is compared row by row: what it holds and the table does not is taken out, what the table holds and the
//! index does not is put in. A row is known by its stable id and its content's hash together, so rows that a restored
//! version of the table revived are covered as well. Where the identity in the index's payload does not fit, or the
//! index is damaged, it is built anew.

use super::CollectionError;
use super::derive::{self, LexicalChange};
use crate::hash::ContentHash;
use crate::lexical::{LexicalError, LexicalIndex, LexicalOptions, Payload};
use crate::vector::{RowKey, VectorTable};
use std::collections::HashMap;
use std::path::Path;

/// The lexical index, as errors name it.
pub(super) const LEXICAL: &str = "the lexical index";
/// Rows whose text is held in memory at once while missing ones are put in.
const CATCH_UP_ROWS: usize = 8_192;

/// An index that is in step with its table.
pub(super) struct CaughtUp {
    pub(super) index: LexicalIndex,
    pub(super) report: Report,
}

/// What was done to get there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// Nothing was missing.
    InStep,
    /// Single rows were taken out and put in.
    Repaired { removed: usize, added: usize },
    /// The index was built anew.
    Rebuilt(RebuildReason),
}

/// Why an index is built anew rather than repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RebuildReason {
    /// Its files are missing or broken.
    Damaged,
    /// It has never been committed.
    NoPayload,
    /// Its payload has another format.
    Format,
    /// It was made from another table or another branch.
    OtherTable,
    /// It was made by another text analysis.
    OtherAnalyzer,
    /// It is ahead of the table, which a power loss can do, or an older copy of the table.
    AheadOfTable,
    /// The version that it applied is not in the table's history any more, or is another one of that number.
    UnknownVersion,
    /// After the repair it still did not hold the table's rows.
    RepairFailed,
}

impl Report {
    pub(super) fn log(self, collection: &str) {
        match self {
            Self::InStep => tracing::info!(collection, "lexical index is in step with its table"),
            Self::Repaired { removed, added } => {
                tracing::warn!(collection, removed, added, "lexical index was behind its table and has caught up");
            }
            Self::Rebuilt(RebuildReason::NoPayload) => tracing::info!(collection, "lexical index was built"),
            Self::Rebuilt(reason) => tracing::warn!(collection, ?reason, "lexical index was built anew"),
        }
    }
}

/// Opens the lexical index in `folder` and brings it to the rows of `table`, which `keys` lists.
///
/// # Errors
/// The table cannot be read or the folder cannot be written. A damaged index is no error.
pub(super) async fn catch_up(
    table: &VectorTable,
    keys: &[RowKey],
    folder: &Path,
    options: &LexicalOptions,
) -> Result<CaughtUp, CollectionError> {
    if let Some(parent) = folder.parent() {
        derive::remove_leftovers(parent)?;
    }
    let reason = match try_repair(table, keys, folder, options).await {
        Ok(Attempt::InStep(caught_up)) => return Ok(*caught_up),
        Ok(Attempt::Rebuild(reason)) => reason,
        Err(CollectionError::Lexical(error @ (LexicalError::Damaged { .. } | LexicalError::Engine(_)))) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "lexical index cannot be read");
            RebuildReason::Damaged
        }
        Err(error) => return Err(error),
    };
    let index = derive::rebuild(table, folder, options).await?;
    check_count(LEXICAL, index.searcher().num_docs(), keys.len() as u64, table.version())?;
    Ok(CaughtUp { index, report: Report::Rebuilt(reason) })
}

enum Attempt {
    InStep(Box<CaughtUp>),
    Rebuild(RebuildReason),
}

async fn try_repair(
    table: &VectorTable,
    keys: &[RowKey],
    folder: &Path,
    options: &LexicalOptions,
) -> Result<Attempt, CollectionError> {
    let index = derive::open(folder, &table.layout().fields, options).await?;
    if let Some(reason) = assess(table, &index).await? {
        derive::close(index).await?;
        return Ok(Attempt::Rebuild(reason));
    }
    let repaired = repair(table, keys, index).await?;
    Ok(match repaired {
        Some(caught_up) => Attempt::InStep(Box::new(caught_up)),
        None => Attempt::Rebuild(RebuildReason::RepairFailed),
    })
}

/// Compares the rows of the index, or of anything else that was derived from the table, with the table's.
///
/// # Errors
/// [`CollectionError::OutOfStep`] when they differ.
pub(super) fn check_count(
    what: &'static str,
    derived_rows: u64,
    vector_rows: u64,
    version: u64,
) -> Result<(), CollectionError> {
    match derived_rows == vector_rows {
        true => Ok(()),
        false => Err(CollectionError::OutOfStep { vector_rows, what, derived_rows, version }),
    }
}

/// Whether the index can be repaired (`None`), or why it has to be built anew.
async fn assess(table: &VectorTable, index: &LexicalIndex) -> Result<Option<RebuildReason>, CollectionError> {
    let Some(payload) = index.payload()? else {
        return Ok(Some(RebuildReason::NoPayload));
    };
    let expected = derive::payload(table, index.analyzer_hash(), payload.live_rows);
    let committed_at = match payload.version == expected.version {
        true => Some(expected.manifest_timestamp),
        false => table.committed_at_ns_of(table.versions_before() + payload.version).await,
    };
    Ok(misfit(&payload, &expected, committed_at))
}

/// Compares the payload of an index with what the table's present version would have it be. `committed_at` is when the
/// table committed the version that the payload names, if it still knows that version.
fn misfit(payload: &Payload, expected: &Payload, committed_at: Option<i128>) -> Option<RebuildReason> {
    if payload.format != expected.format {
        Some(RebuildReason::Format)
    } else if payload.table_id != expected.table_id || payload.branch != expected.branch {
        Some(RebuildReason::OtherTable)
    } else if payload.analyzer_hash != expected.analyzer_hash {
        Some(RebuildReason::OtherAnalyzer)
    } else if payload.version > expected.version {
        Some(RebuildReason::AheadOfTable)
    } else if committed_at != Some(payload.manifest_timestamp) {
        Some(RebuildReason::UnknownVersion)
    } else {
        None
    }
}

/// Puts the difference right. `None` when the index still differs afterwards.
async fn repair(
    table: &VectorTable,
    keys: &[RowKey],
    index: LexicalIndex,
) -> Result<Option<CaughtUp>, CollectionError> {
    let searcher = index.searcher();
    let indexed = tokio::task::spawn_blocking(move || searcher.rows()).await??;
    let difference = difference(keys, &indexed);
    let live_rows = keys.len() as u64;
    let payload = derive::payload(table, index.analyzer_hash(), live_rows);
    if difference.is_empty() && index.payload()?.as_ref() == Some(&payload) {
        return Ok(Some(CaughtUp { index, report: Report::InStep }));
    }
    let report = match difference.is_empty() {
        true => Report::InStep,
        false => Report::Repaired { removed: difference.remove.len(), added: difference.add.len() },
    };
    // Rows go out first and alone: an id that the index holds with other content is in both lists.
    let removal = LexicalChange { deleted: difference.remove, added: Vec::new() };
    let mut index = derive::apply(index, removal, payload.clone()).await?;
    for row_ids in difference.add.chunks(CATCH_UP_ROWS) {
        let rows = table.take_index_rows(row_ids).await?;
        let added = rows.into_iter().map(derive::from_index_row).collect();
        index = derive::apply(index, LexicalChange { deleted: Vec::new(), added }, payload.clone()).await?;
    }
    if index.searcher().num_docs() == live_rows {
        return Ok(Some(CaughtUp { index, report }));
    }
    derive::close(index).await?;
    Ok(None)
}

/// Row ids to take out of the index and to put in.
#[derive(Debug, PartialEq, Eq, Default)]
struct Difference {
    remove: Vec<u64>,
    add: Vec<u64>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

fn difference(keys: &[RowKey], indexed: &[(u64, ContentHash)]) -> Difference {
    let mut missing: HashMap<u64, ContentHash> = keys.iter().map(|key| (key.place.row_id, key.chunk_hash)).collect();
    let mut remove = Vec::new();
    for (row_id, hash) in indexed {
        // Each row of the table accounts for one document of the index; a second copy goes, and takes the first with
        // it, because documents are removed by row id.
        match missing.get(row_id) {
            Some(expected) if expected == hash => {
                missing.remove(row_id);
            }
            _ => remove.push(*row_id),
        }
    }
    let removed: std::collections::HashSet<u64> = remove.iter().copied().collect();
    let in_table = keys.iter().map(|key| key.place.row_id);
    let mut add: Vec<u64> =
        in_table.filter(|row_id| missing.contains_key(row_id) || removed.contains(row_id)).collect();
    add.sort_unstable();
    remove.sort_unstable();
    remove.dedup();
    Difference { remove, add }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vector::RowPlace;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn hash(number: u128) -> ContentHash {
        ContentHash::from_u128(number)
    }

    fn key(row_id: u64, content: u128) -> RowKey {
        RowKey {
            place: RowPlace { row_id, fragment: 0, offset: 0 },
            document_id: String::new(),
            chunk_no: 0,
            document_hash: hash(0),
            chunk_hash: hash(content),
        }
    }

    fn payload() -> Payload {
        Payload {
            format: 1,
            table_id: "t".into(),
            branch: String::new(),
            version: 7,
            manifest_timestamp: 70,
            analyzer_hash: "a".into(),
            live_rows: 3,
        }
    }

    #[test]
    fn an_identity_that_does_not_fit_asks_for_a_rebuild() {
        let expected = Payload { version: 9, manifest_timestamp: 90, ..payload() };
        let cases = [
            (payload(), Some(70), None),
            (Payload { format: 2, ..payload() }, Some(70), Some(RebuildReason::Format)),
            (Payload { table_id: "u".into(), ..payload() }, Some(70), Some(RebuildReason::OtherTable)),
            (Payload { branch: "b".into(), ..payload() }, Some(70), Some(RebuildReason::OtherTable)),
            (Payload { analyzer_hash: "b".into(), ..payload() }, Some(70), Some(RebuildReason::OtherAnalyzer)),
            (Payload { version: 10, ..payload() }, None, Some(RebuildReason::AheadOfTable)),
            (payload(), None, Some(RebuildReason::UnknownVersion)),
            (payload(), Some(71), Some(RebuildReason::UnknownVersion)),
        ];
        for (payload, committed_at, reason) in cases {
            assert_eq!(misfit(&payload, &expected, committed_at), reason, "{payload:?} {committed_at:?}");
        }
    }

    #[test]
    fn a_difference_lists_what_goes_and_what_comes() {
        let keys = [key(1, 10), key(2, 20), key(3, 30)];
        let indexed = [(1, hash(10)), (2, hash(99)), (4, hash(40))];
        assert_eq!(difference(&keys, &indexed), Difference { remove: vec![2, 4], add: vec![2, 3] });
    }

    #[test]
    fn a_row_that_was_indexed_twice_is_indexed_anew() {
        let indexed = [(1, hash(10)), (1, hash(10))];
        assert_eq!(difference(&[key(1, 10)], &indexed), Difference { remove: vec![1], add: vec![1] });
    }

    proptest! {
        /// Taking out by id and then putting in leaves exactly the rows of the table.
        #[test]
        fn the_difference_leads_to_the_table(
            table in prop::collection::btree_map(0..20_u64, 0..3_u128, 0..12),
            indexed in prop::collection::vec((0..20_u64, 0..3_u128), 0..16),
        ) {
            let keys: Vec<_> = table.iter().map(|(row_id, content)| key(*row_id, *content)).collect();
            let indexed: Vec<_> = indexed.into_iter().map(|(row_id, content)| (row_id, hash(content))).collect();
            let difference = difference(&keys, &indexed);
            let mut left: Vec<_> = indexed.into_iter().filter(|(row_id, _)| !difference.remove.contains(row_id)).collect();
            left.extend(difference.add.iter().map(|row_id| (*row_id, hash(table[row_id]))));
            left.sort();
            let expected: Vec<_> = table.iter().map(|(row_id, content)| (*row_id, hash(*content))).collect();
            prop_assert_eq!(left, expected);
            let distinct: BTreeSet<_> = difference.add.iter().collect();
            prop_assert_eq!(distinct.len(), difference.add.len());
        }
    }
}
