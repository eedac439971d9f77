//! The hop that finds passages: every collection at the same time.

use futures::future::try_join_all;
use tokio::time::Instant;
use trivium_proto::{
    model::v1::QueryVector,
    retriever::v1::{AsOf, Fusion, Leg, SearchRequest, SearchResponse, as_of::State},
    router::v1::Passage,
};
use trivium_service_kit::{Error, Reason};

use super::{Hop, Run, merge, ms_since};
use crate::{
    policy::{Legs, Retrieval, Search},
    request::fusion_to_wire,
};

impl Run {
    /// The passages of all collections, best first, numbered from 1.
    pub(super) async fn retrieve(
        &mut self,
        retrieval: &Retrieval,
        vectors: Vec<QueryVector>,
    ) -> Result<Vec<Passage>, Error> {
        let started = Instant::now();
        let searches = retrieval.searches.iter().map(|search| self.search(search, &vectors));
        let mut responses = try_join_all(searches).await?;
        for response in &mut responses {
            self.witness.searched(response);
            self.account.searched(response);
        }
        let found = retrieval.collections().into_iter().zip(responses).collect();
        let passages = merge::merge(found, retrieval.k as usize);
        self.account.took("retrieve", ms_since(started));
        Ok(passages)
    }

    /// Searches one collection. Where none of the vectors is of its embedder, the
    /// retriever is asked again to encode the query itself.
    async fn search(&self, search: &Search, vectors: &[QueryVector]) -> Result<SearchResponse, Error> {
        let collection = search.collection.as_str();
        let vectors = if search.legs.has_semantic() { vectors } else { &[] };
        let hop = Hop::new(self.deadline, self.engine.hops.search());
        let (as_of, min_version, fusion) = self.state(search);
        let ask = |vectors: &[QueryVector]| {
            let request = SearchRequest {
                collection: collection.to_owned(),
                query: self.query.question.text.clone(),
                vectors: vectors.to_vec(),
                legs: legs(search.legs).iter().map(|leg| i32::from(*leg)).collect(),
                k: Some(search.k),
                fusion,
                filter: search.filter_with(&self.query.filter),
                as_of: as_of.clone(),
                min_version,
                request_id: self.query.question.request_id.clone(),
                ..SearchRequest::default()
            };
            self.engine.retriever.search(request, hop.deadline)
        };
        let outcome = match ask(vectors).await {
            Err(error) if error.reason() == Reason::EmbedderMismatch && !vectors.is_empty() => {
                tracing::warn!(
                    collection,
                    "the collection has another embedder: the retriever encodes the query itself"
                );
                ask(&[]).await
            }
            outcome => outcome,
        };
        outcome.map_err(|error| match &search.filter {
            Some(filter) if error.reason() == Reason::FilterInvalid => of_both_filters(filter, &error),
            _ => in_our_terms(error),
        })
    }
}

impl Run {
    /// The state to search, the least version, and the fusion: those of the record in a replay,
    /// else the caller's and the policy's.
    fn state(&self, search: &Search) -> (Option<AsOf>, u64, Option<Fusion>) {
        let collection = search.collection.as_str();
        if let Some((search, snapshot)) = self.query.past.as_ref().and_then(|past| past.search(collection)) {
            return (Some(AsOf { state: Some(State::Version(snapshot.version)) }), 0, search.fusion);
        }
        let wanted = &self.query.state;
        let min_version = wanted.min_versions.get(collection).copied().unwrap_or_default();
        (wanted.as_of.clone(), min_version, fusion_to_wire(&search.fusion))
    }
}

/// The retriever read the policy's filter and the caller's as one, so the place that it names is in both together.
fn of_both_filters(of_policy: &str, error: &Error) -> Error {
    let why = format!("together with the policy's filter, {of_policy}: {}", error.message());
    Error::new(Reason::FilterInvalid, why).with_field("options.filter")
}

/// The fields that an error names are the retriever's; callers of the router know others.
fn in_our_terms(error: Error) -> Error {
    match error.field() {
        Some("collection") => error.with_field("options.collections"),
        Some("k") => error.with_field("options.k"),
        Some("filter") => error.with_field("options.filter"),
        Some("as_of") => error.with_field("options.as_of"),
        Some("min_version") => error.with_field("options.min_versions"),
        Some(field) if field.starts_with("fusion") => {
            let field = format!("options.{field}");
            error.with_field(field)
        }
        _ => error,
    }
}

fn legs(legs: Legs) -> &'static [Leg] {
    match legs {
        Legs::Lexical => &[Leg::Lexical],
        Legs::Semantic => &[Leg::Semantic],
        Legs::Hybrid => &[Leg::Lexical, Leg::Semantic],
    }
}
