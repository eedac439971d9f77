//! The hop that finds passages: every collection at the same time.

use futures::future::try_join_all;
use tokio::time::Instant;
use trivium_proto::{
    model::v1::QueryVector,
    retriever::v1::{
        AsOf, Fusion, Leg, Rerank, RerankMethod, RerankReport, SearchRequest, SearchResponse, as_of::State,
    },
    router::v1::Passage,
};
use trivium_service_kit::{Deadline, Error, Reason};

use super::{HopKind, Run, budget, merge, ms_since};
use crate::{
    degrade::{Rung, is_outage},
    policy::{Legs, Retrieval, Search},
    request::{fusion_to_wire, rerank_to_wire},
};

/// What one collection gave.
struct Searched {
    response: SearchResponse,
    /// Why the road's one leg was replaced by the other.
    replaced: Option<(Leg, Error)>,
}

/// How one collection is searched, besides the policy's legs and filter.
struct How {
    as_of: Option<AsOf>,
    /// The least version; 0 for any.
    min_version: u64,
    fusion: Option<Fusion>,
    rerank: Option<Rerank>,
}

impl Run {
    /// The passages of all collections, best first, numbered from 1. Collections that cannot be searched are left out
    /// where others can be.
    ///
    /// # Errors
    /// When a request is refused, or no collection can be searched.
    pub(super) async fn retrieve(
        &mut self,
        retrieval: &Retrieval,
        vectors: Vec<QueryVector>,
    ) -> Result<Vec<Passage>, Error> {
        let started = Instant::now();
        let searches = retrieval.searches.iter().map(|search| self.try_search(search, &vectors));
        let searched = try_join_all(searches).await;
        self.account.took("retrieve", ms_since(started));
        let mut found = Vec::with_capacity(retrieval.searches.len());
        let mut failed = Vec::new();
        for (name, searched) in retrieval.collections().into_iter().zip(searched?) {
            match searched {
                Ok(searched) => {
                    let response = self.note(&name, searched);
                    found.push((name, response));
                }
                Err(error) => failed.push((name, error)),
            }
        }
        if found.is_empty() {
            // There is at least one collection, and the first to be named is the first to be told of.
            let first = failed.into_iter().next().map(|(_, error)| error);
            return Err(first.map_or_else(|| Error::new(Reason::Internal, "no collection was searched"), in_our_terms));
        }
        for (name, error) in failed {
            self.degrade(Rung::Collection, &error, &name);
        }
        Ok(merge::merge(found, retrieval.k as usize))
    }

    /// Notes what a search read and what it left out.
    fn note(&mut self, collection: &str, searched: Searched) -> SearchResponse {
        let Searched { mut response, replaced } = searched;
        self.witness.searched(&response);
        self.account.searched(&mut response);
        let missing = response.legs.iter().filter(|leg| leg.missing);
        let missing = missing.map(|leg| {
            let reason = Reason::from_wire(&leg.reason).unwrap_or(Reason::Internal);
            (leg.leg(), Error::new(reason, leg.detail.clone()))
        });
        for (leg, error) in missing.chain(replaced).collect::<Vec<_>>() {
            let rung = if leg == Leg::Lexical { Rung::LexicalLeg } else { Rung::SemanticLeg };
            self.degrade(rung, &error, collection);
        }
        if let Some(error) = response.rerank.as_ref().and_then(left_out) {
            self.degrade(Rung::Rerank, &error, collection);
        }
        response
    }

    /// Searches one collection. The error inside is one that other collections make up for.
    async fn try_search(&self, search: &Search, vectors: &[QueryVector]) -> Result<Result<Searched, Error>, Error> {
        // A name that the caller gave is the caller's to correct; one of the policy's is not.
        let is_of_policy = self.query.overrides.collections.is_empty();
        match self.search_by_any_leg(search, vectors).await {
            Ok(searched) => Ok(Ok(searched)),
            Err(error) if is_outage(error.reason()) => Ok(Err(error)),
            Err(error) if error.reason() == Reason::CollectionNotFound && is_of_policy => Ok(Err(error)),
            Err(error) => Err(match &search.filter {
                Some(filter) if error.reason() == Reason::FilterInvalid => of_both_filters(filter, &error),
                _ => in_our_terms(error),
            }),
        }
    }

    /// Searches by the road's legs. Where it has one alone, and that fails, by the other: the retriever does the same by
    /// itself where the road has both. A caller who chose the leg is told that it is not there.
    async fn search_by_any_leg(&self, search: &Search, vectors: &[QueryVector]) -> Result<Searched, Error> {
        let other = match (search.legs, self.query.road) {
            (Legs::Lexical, None) => Some((Legs::Semantic, Leg::Lexical)),
            (Legs::Semantic, None) => Some((Legs::Lexical, Leg::Semantic)),
            _ => None,
        };
        // Where there may be a second search, time is kept for it.
        let before = if other.is_some() { HopKind::Analyze } else { HopKind::Search };
        let deadline = self.search_deadline(before);
        let error = match (self.search(search, search.legs, vectors, deadline).await, other) {
            (Ok(response), _) => return Ok(Searched { response, replaced: None }),
            (Err(error), Some(_)) if is_of_leg(&error) => error,
            (Err(error), _) => return Err(error),
        };
        let Some((legs, broken)) = other else { return Err(error) };
        let deadline = self.search_deadline(HopKind::Search);
        match self.search(search, legs, vectors, deadline).await {
            Ok(response) => Ok(Searched { response, replaced: Some((broken, error)) }),
            Err(_) => Err(error),
        }
    }

    /// The deadline of a search after which come the hops that come after `hop`.
    fn search_deadline(&self, hop: HopKind) -> Deadline {
        let later = budget::after(hop, self.query.answer);
        budget::deadline(self.deadline, HopKind::Search, later, &self.engine.hops)
    }

    /// Searches one collection. Where none of the vectors is of its embedder, the
    /// retriever is asked again to encode the query itself.
    async fn search(
        &self,
        search: &Search,
        with: Legs,
        vectors: &[QueryVector],
        deadline: Deadline,
    ) -> Result<SearchResponse, Error> {
        let collection = search.collection.as_str();
        let How { as_of, min_version, fusion, rerank } = self.how(search);
        let ask = |vectors: &[QueryVector]| {
            let request = SearchRequest {
                collection: collection.to_owned(),
                query: self.query.question.text.clone(),
                vectors: if with.has_semantic() { vectors.to_vec() } else { Vec::new() },
                legs: legs(with).iter().map(|leg| i32::from(*leg)).collect(),
                k: Some(search.k),
                fusion,
                filter: search.filter_with(&self.query.filter),
                rerank,
                as_of: as_of.clone(),
                min_version,
                request_id: self.query.question.request_id.clone(),
                allow_partial: true,
                leg_budget_ms: u32::try_from(self.engine.hops.leg_ms).unwrap_or(u32::MAX),
                ..SearchRequest::default()
            };
            self.engine.retriever.search(request, deadline)
        };
        match ask(vectors).await {
            Err(error) if error.reason() == Reason::EmbedderMismatch && !vectors.is_empty() => {
                tracing::warn!(
                    collection,
                    "the collection has another embedder: the retriever encodes the query itself"
                );
                ask(&[]).await
            }
            outcome => outcome,
        }
    }
}

impl Run {
    /// How a collection is searched: as the record says in a replay, else as the caller and the policy do.
    fn how(&self, search: &Search) -> How {
        let collection = search.collection.as_str();
        if let Some((search, snapshot)) = self.query.past.as_ref().and_then(|past| past.search(collection)) {
            let as_of = Some(AsOf { state: Some(State::Version(snapshot.version)) });
            let none = Rerank { method: RerankMethod::None.into(), ..Rerank::default() };
            let rerank = Some(search.rerank.unwrap_or(none));
            return How { as_of, min_version: 0, fusion: search.fusion, rerank };
        }
        let wanted = &self.query.state;
        let min_version = wanted.min_versions.get(collection).copied().unwrap_or_default();
        let fusion = fusion_to_wire(&search.fusion);
        let rerank = self.query.rerank.or_else(|| rerank_to_wire(&search.rerank));
        How { as_of: wanted.as_of.clone(), min_version, fusion, rerank }
    }
}

/// Why a second stage that was wanted took no effect.
fn left_out(second: &RerankReport) -> Option<Error> {
    let reason = || Reason::from_wire(&second.left_out_reason).unwrap_or(Reason::Internal);
    (!second.left_out_reason.is_empty()).then(|| Error::new(reason(), second.left_out_detail.clone()))
}

/// The retriever read the policy's filter and the caller's as one, so the place that it names is in both together.
fn of_both_filters(of_policy: &str, error: &Error) -> Error {
    let why = format!("together with the policy's filter, {of_policy}: {}", error.message());
    Error::new(Reason::FilterInvalid, why).with_field("options.filter")
}

/// Whether a failed search may be the fault of its leg: the retriever itself is there.
fn is_of_leg(error: &Error) -> bool {
    is_outage(error.reason()) && !matches!(error.reason(), Reason::RetrieverUnavailable | Reason::ShuttingDown)
}

/// The fields that an error names are the retriever's; callers of the router know others.
fn in_our_terms(error: Error) -> Error {
    match error.field() {
        Some("collection") => error.with_field("options.collections"),
        Some("k") => error.with_field("options.k"),
        Some("filter") => error.with_field("options.filter"),
        Some("as_of") => error.with_field("options.as_of"),
        Some("min_version") => error.with_field("options.min_versions"),
        Some(field) if field.starts_with("fusion") || field.starts_with("rerank") => {
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
