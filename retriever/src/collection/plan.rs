//! What a group of write requests comes to: which documents are written, which rows go, and what each request is told.
//!
//! Pure, so that the order of requests, repetitions and races can be tested as tables.

use super::directory::Directory;
use crate::hash::ContentHash;
use crate::vector::ChunkRow;
use std::collections::{BTreeMap, BTreeSet};

/// A document that is ready to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct PreparedDocument {
    /// The document's id.
    pub document_id: String,
    /// Its hash.
    pub document_hash: ContentHash,
    /// Its rows, in the order of its chunks; at least one.
    pub rows: Vec<ChunkRow>,
}

/// What a request wants of one document.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The document is to be there, with this content.
    Put(PreparedDocument),
    /// The document is to have these rows in place of its own, which say the same, if it still has this content.
    Renew(PreparedDocument),
    /// The document was there with this content when the request was prepared, so nothing was embedded for it.
    Keep {
        /// The document's id.
        document_id: String,
        /// The hash that it had.
        document_hash: ContentHash,
    },
    /// The document is to be gone.
    Delete {
        /// The document's id.
        document_id: String,
    },
}

/// What became of the documents of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Documents that were new or different.
    pub upserted: u32,
    /// Documents that were there already, the same.
    pub unchanged: u32,
    /// Documents that were removed.
    pub deleted: u32,
    /// Chunks of the upserted documents.
    pub chunks: u32,
}

/// What one request is told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// It takes effect.
    Applies(Tally),
    /// Documents that it wanted kept have changed meanwhile. Nothing of it takes effect; it comes back, to be prepared anew.
    Stale {
        /// All of its changes.
        changes: Vec<Change>,
        /// The documents to prepare.
        document_ids: BTreeSet<String>,
    },
}

/// What a group of requests comes to.
#[derive(Debug, PartialEq, Default)]
pub(super) struct GroupPlan {
    /// Documents to write, by id.
    pub(super) written: Vec<PreparedDocument>,
    /// Documents whose present rows go, because they are replaced or deleted, by id.
    pub(super) removed: Vec<String>,
    /// One verdict for each request, in their order.
    pub(super) verdicts: Vec<Verdict>,
}

impl GroupPlan {
    /// Whether there is nothing to commit.
    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.removed.is_empty()
    }
}

/// Plans requests as though they came one after another, and were committed once.
pub(super) fn plan(directory: &Directory, requests: Vec<Vec<Change>>) -> GroupPlan {
    let mut group = Group { directory, touched: BTreeMap::new() };
    let verdicts = requests.into_iter().map(|changes| group.apply(changes)).collect();
    let mut plan = GroupPlan { verdicts, ..GroupPlan::default() };
    for (document_id, Touched { state, renewed }) in group.touched {
        let before = directory.get(&document_id).map(|entry| entry.hash);
        // A document that was changed and changed back within the group stays as it is.
        if !renewed && before == state.as_ref().map(|document| document.document_hash) {
            continue;
        }
        if before.is_some() {
            plan.removed.push(document_id);
        }
        plan.written.extend(state);
    }
    plan
}

/// The directory, seen through the requests that were planned so far.
struct Group<'a> {
    directory: &'a Directory,
    touched: BTreeMap<String, Touched>,
}

/// A document that some request touched.
struct Touched {
    /// The state that it shall have; `None` for a deleted one.
    state: Option<PreparedDocument>,
    /// Whether its rows are to be written even where it says the same as before.
    renewed: bool,
}

impl Group<'_> {
    fn hash_of(&self, document_id: &str) -> Option<ContentHash> {
        match self.touched.get(document_id) {
            Some(touched) => touched.state.as_ref().map(|document| document.document_hash),
            None => self.directory.get(document_id).map(|entry| entry.hash),
        }
    }

    fn apply(&mut self, changes: Vec<Change>) -> Verdict {
        let document_ids = self.stale(&changes);
        if !document_ids.is_empty() {
            return Verdict::Stale { changes, document_ids };
        }
        let mut tally = Tally::default();
        for change in changes {
            self.apply_one(change, &mut tally);
        }
        Verdict::Applies(tally)
    }

    fn stale(&self, changes: &[Change]) -> BTreeSet<String> {
        let stale = |change: &Change| match change {
            Change::Keep { document_id, document_hash } if self.hash_of(document_id) != Some(*document_hash) => {
                Some(document_id.clone())
            }
            _ => None,
        };
        changes.iter().filter_map(stale).collect()
    }

    fn apply_one(&mut self, change: Change, tally: &mut Tally) {
        match change {
            Change::Keep { .. } => tally.unchanged += 1,
            Change::Put(document) if self.hash_of(&document.document_id) == Some(document.document_hash) => {
                tally.unchanged += 1;
            }
            Change::Put(document) => {
                tally.upserted += 1;
                tally.chunks = tally.chunks.saturating_add(u32::try_from(document.rows.len()).unwrap_or(u32::MAX));
                self.touch(document.document_id.clone(), Some(document), false);
            }
            Change::Renew(document) => {
                tally.unchanged += 1;
                if self.hash_of(&document.document_id) == Some(document.document_hash) {
                    self.touch(document.document_id.clone(), Some(document), true);
                }
            }
            Change::Delete { document_id } => {
                if self.hash_of(&document_id).is_some() {
                    tally.deleted += 1;
                    self.touch(document_id, None, false);
                }
            }
        }
    }

    fn touch(&mut self, document_id: String, state: Option<PreparedDocument>, renewed: bool) {
        self.touched.insert(document_id, Touched { state, renewed });
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::DocumentEntry;
    use super::*;
    use proptest::prelude::*;

    /// A document whose hash is its content; rows do not matter to a plan.
    fn put(id: &str, content: u128) -> Change {
        let document_hash = ContentHash::from_u128(content);
        Change::Put(PreparedDocument { document_id: id.into(), document_hash, rows: Vec::new() })
    }

    fn keep(id: &str, content: u128) -> Change {
        Change::Keep { document_id: id.into(), document_hash: ContentHash::from_u128(content) }
    }

    fn delete(id: &str) -> Change {
        Change::Delete { document_id: id.into() }
    }

    fn directory(documents: &[(&str, u128)]) -> Directory {
        let mut directory = Directory::default();
        for (id, content) in documents {
            directory
                .insert((*id).into(), DocumentEntry { hash: ContentHash::from_u128(*content), rows: Box::new([]) });
        }
        directory
    }

    fn written(plan: &GroupPlan) -> Vec<(&str, u128)> {
        plan.written.iter().map(|document| (document.document_id.as_str(), document.document_hash.as_u128())).collect()
    }

    fn applies(upserted: u32, unchanged: u32, deleted: u32) -> Verdict {
        Verdict::Applies(Tally { upserted, unchanged, deleted, chunks: 0 })
    }

    #[test]
    fn new_same_and_different_documents() {
        let plan = plan(&directory(&[("a", 1), ("b", 1)]), vec![vec![put("a", 1), put("b", 2), put("c", 1)]]);
        assert_eq!(written(&plan), [("b", 2), ("c", 1)]);
        assert_eq!(plan.removed, ["b"]);
        assert_eq!(plan.verdicts, [applies(2, 1, 0)]);
    }

    #[test]
    fn a_repeated_request_commits_nothing() {
        let plan = plan(&directory(&[("a", 1)]), vec![vec![put("a", 1)], vec![keep("a", 1)], vec![delete("b")]]);
        assert!(plan.is_empty());
        assert_eq!(plan.verdicts, [applies(0, 1, 0), applies(0, 1, 0), applies(0, 0, 0)]);
    }

    #[test]
    fn later_requests_of_a_group_see_earlier_ones() {
        let requests =
            vec![vec![put("a", 2)], vec![put("a", 3)], vec![delete("b")], vec![put("b", 1)], vec![put("a", 3)]];
        let plan = plan(&directory(&[("a", 1), ("b", 1)]), requests);
        assert_eq!(written(&plan), [("a", 3)]);
        assert_eq!(plan.removed, ["a"]);
        let expected = [applies(1, 0, 0), applies(1, 0, 0), applies(0, 0, 1), applies(1, 0, 0), applies(0, 1, 0)];
        assert_eq!(plan.verdicts, expected);
    }

    #[test]
    fn a_document_that_changed_meanwhile_sends_its_request_back() {
        let second = vec![put("c", 1), keep("a", 1)];
        let plan = plan(&directory(&[("a", 1)]), vec![vec![put("a", 2)], second.clone(), vec![keep("gone", 1)]]);
        assert_eq!(written(&plan), [("a", 2)]);
        let stale = |changes, id: &str| Verdict::Stale { changes, document_ids: BTreeSet::from([id.to_owned()]) };
        assert_eq!(plan.verdicts, [applies(1, 0, 0), stale(second, "a"), stale(vec![keep("gone", 1)], "gone")]);
    }

    fn any_change() -> impl Strategy<Value = Change> {
        let id = prop::sample::select(vec!["a", "b", "c"]);
        (id, 0..3_u128, 0..3_u8).prop_map(|(id, content, kind)| match kind {
            0 => put(id, content),
            1 => keep(id, content),
            _ => delete(id),
        })
    }

    proptest! {
        /// A group must leave the collection as the same requests one by one would.
        #[test]
        fn a_group_equals_its_requests_one_by_one(changes in prop::collection::vec(any_change(), 0..12)) {
            let start = directory(&[("a", 0), ("b", 1)]);
            let requests: Vec<_> = changes.into_iter().map(|change| vec![change]).collect();
            let grouped = plan(&start, requests.clone());
            let mut one_by_one = start.clone();
            let mut verdicts = Vec::new();
            for request in requests {
                let single = plan(&one_by_one, vec![request]);
                commit(&mut one_by_one, &single);
                verdicts.extend(single.verdicts);
            }
            let mut together = start;
            commit(&mut together, &grouped);
            prop_assert_eq!(together, one_by_one);
            prop_assert_eq!(grouped.verdicts, verdicts);
        }
    }

    fn commit(directory: &mut Directory, plan: &GroupPlan) {
        plan.removed.iter().for_each(|id| directory.remove(id));
        for document in &plan.written {
            let entry = DocumentEntry { hash: document.document_hash, rows: Box::new([]) };
            directory.insert(document.document_id.clone(), entry);
        }
    }
}
