//! Whether the collection holds what the clients know, on both legs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::COLLECTION;
use super::clients::{Clients, Retriever, connect, revision_of, text};
use super::ledger::{Fault, State};
use trivium_proto::retriever::v1::{CheckCollectionRequest, GetDocumentsRequest, Leg, SearchRequest, StoredDocument};

/// More chunks than there ever are.
const ALL: u32 = 1_000;

/// What was checked, and what was wrong.
#[derive(Debug, Default)]
pub struct Checked {
    documents: u64,
    chunks: u64,
    pub faults: Vec<Fault>,
}

impl Checked {
    pub fn add(&mut self, other: &Self) {
        self.documents += other.documents;
        self.chunks += other.chunks;
        self.faults.extend(other.faults.iter().cloned());
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |is: fn(&Fault) -> bool| self.faults.iter().filter(|fault| is(fault)).count();
        write!(
            formatter,
            "{} documents and {} chunks checked, {} lost, {} resurrected, {} stale, {} batches by half, {} mismatches",
            self.documents,
            self.chunks,
            count(|fault| matches!(fault, Fault::Lost { .. })),
            count(|fault| matches!(fault, Fault::Resurrected { .. })),
            count(|fault| matches!(fault, Fault::Stale { .. })),
            count(|fault| matches!(fault, Fault::Half { .. })),
            count(|fault| matches!(fault, Fault::Mismatch { .. })),
        )
    }
}

/// Reads everything that there is, and settles the clients' batches that had no answer.
pub async fn check(clients: &mut Clients, at: &str) -> Checked {
    let mut retriever = connect(at);
    let ids = clients.ids();
    let request = GetDocumentsRequest { collection: COLLECTION.into(), document_ids: ids.clone() };
    let documents = retriever.get_documents(request).await.expect("read").into_inner().documents;
    let mut checked = Checked { documents: ids.len() as u64, ..Checked::default() };

    let stored: BTreeMap<String, State> =
        documents.iter().map(|stored| revision(stored, &mut checked.faults)).collect();
    for writer in &mut clients.writers {
        let faults = writer.ledger.settle(|id| stored.get(id).copied().unwrap_or(State::Absent));
        checked.faults.extend(faults);
    }
    checked.faults.extend(problems(&mut retriever).await);
    let expected: BTreeSet<(String, String)> = documents.iter().flat_map(chunks_of).collect();
    checked.chunks = expected.len() as u64;
    for leg in [Leg::Lexical, Leg::Semantic] {
        let found = chunks_found_by(&mut retriever, leg).await;
        for (id, text) in expected.symmetric_difference(&found).take(10) {
            let side = if expected.contains(&(id.clone(), text.clone())) { "lacks" } else { "has besides" };
            checked.faults.push(Fault::Mismatch { what: format!("{leg:?} {side} {id}: {text}") });
        }
    }
    checked
}

/// What the service itself finds when it compares every row of the table with all that is derived from it.
async fn problems(retriever: &mut Retriever) -> Vec<Fault> {
    let request = CheckCollectionRequest { name: COLLECTION.into() };
    let response = retriever.check_collection(request).await.expect("checked").into_inner();
    response.problems.into_iter().map(|what| Fault::Mismatch { what }).collect()
}

/// Which revision a stored document is, whole.
fn revision(stored: &StoredDocument, faults: &mut Vec<Fault>) -> (String, State) {
    let document = stored.document.clone().unwrap_or_default();
    let revision = revision_of(&document.text).unwrap_or_default();
    if document.text.trim_end() != text(&document.id, revision).trim_end() {
        faults.push(Fault::Mismatch { what: format!("{} holds what nobody wrote: {}", document.id, document.text) });
    }
    (document.id, State::Revision(revision))
}

/// Ids and texts of a document's chunks.
fn chunks_of(stored: &StoredDocument) -> Vec<(String, String)> {
    let text: Vec<char> = stored.document.as_ref().map(|document| document.text.chars().collect()).unwrap_or_default();
    let chunk = |span: &trivium_proto::retriever::v1::ChunkSpan| {
        let part = text[span.char_start as usize..span.char_end as usize].iter().collect();
        (span.chunk_id.clone(), part)
    };
    stored.chunks.iter().map(chunk).collect()
}

/// Ids and texts of all chunks that a leg finds by a word that each of them has.
async fn chunks_found_by(retriever: &mut Retriever, leg: Leg) -> BTreeSet<(String, String)> {
    let request = SearchRequest {
        collection: COLLECTION.into(),
        query: "archive record".into(),
        legs: vec![leg.into()],
        k: Some(ALL),
        ..SearchRequest::default()
    };
    let response = retriever.search(request).await.expect("searched").into_inner();
    response.hits.into_iter().map(|hit| (hit.chunk_id, hit.text)).collect()
}
