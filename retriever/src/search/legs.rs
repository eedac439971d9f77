//! The two legs.

use super::completion::Everywhere;
use super::partial::{self, Settled};
use super::rerank::encode_both;
use super::{Leg, LegReport, Legs, SearchQuery, telemetry};
use crate::collection::{Collection, CollectionError, Published};
use crate::embedder::{Embedder, Lane, checked_vectors};
use crate::filter::Filter;
use crate::given_vector::GivenTokens;
use crate::vector::{ExactVectors, TokenColumn, VectorHit};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;
use trivium_ranking::fusion::{Fused, Fusion, Normalisation, Part, Ranking, Scored};
use trivium_service_kit::{Deadline, Error, Reason};

/// What the legs of one search have in common.
pub(super) struct LegSearch<'a> {
    pub(super) collection: &'a Collection,
    pub(super) published: &'a Published,
    pub(super) query: &'a SearchQuery,
    /// The query's filter, parsed for this collection.
    pub(super) filter: Option<Arc<Filter>>,
    /// Candidates of each leg.
    pub(super) depth: usize,
    /// What the second stage will want of the query's tokens, where it reads them.
    pub(super) tokens: Option<TokenColumn>,
}

/// What one leg found.
pub(super) struct LegOutcome {
    pub(super) leg: Leg,
    /// The query's vector and its token vectors, where they were made together.
    pub(super) encoded: Option<(Vec<f32>, GivenTokens)>,
    pub(super) ranking: Ranking<u64>,
    /// What it knows of all rows, where the fusion asks for that.
    pub(super) everywhere: Option<Everywhere>,
    elapsed: Duration,
}

impl LegSearch<'_> {
    /// Runs the legs that are asked for, at the same time. Dropping this starts nothing more.
    pub(super) async fn settle(
        &self,
        embedder: &dyn Embedder,
        given: Option<Vec<f32>>,
        deadline: Deadline,
    ) -> Result<Settled<LegOutcome>, Error> {
        let semantic = self.semantic(embedder, given, deadline);
        let outcomes = match (self.query.legs, self.query.partial) {
            (Legs::One(Leg::Lexical), _) => vec![self.lexical().await?],
            (Legs::One(Leg::Semantic), _) => vec![semantic.await?],
            (Legs::Both, Some(partial)) => return partial::settle(partial, deadline, self.lexical(), semantic).await,
            (Legs::Both, None) => <[_; 2]>::from(tokio::try_join!(self.lexical(), semantic)?).into(),
        };
        Ok(Settled { outcomes, missing: None })
    }

    /// Finds by words, off the async threads.
    pub(super) async fn lexical(&self) -> Result<LegOutcome, Error> {
        let span = telemetry::leg(Leg::Lexical, &self.collection.spec().name, self.published.version());
        let started = Instant::now();
        let (searcher, text, depth, inner) =
            (self.published.lexical.clone(), self.query.text.clone(), self.depth, span.clone());
        let (everywhere, filter) = (self.looks_everywhere(), self.filter.clone());
        let search = move || match everywhere {
            true => {
                let found = searcher.search_with_scores(&text, depth, filter.as_deref());
                found.map(|(hits, scores)| (hits, Some(Everywhere::of_words(scores))))
            }
            false => searcher.search(&text, depth, filter.as_deref()).map(|hits| (hits, None)),
        };
        let measured = telemetry::Measured::begin(Leg::Lexical);
        let work = tokio::task::spawn_blocking(move || inner.in_scope(search));
        let hits = AbortOnDropHandle::new(work).await.map_err(CollectionError::from).and_then(|hits| Ok(hits?));
        let hits = hits.map_err(|error| read_error(self.collection, &error));
        measured.ended(&hits);
        let (hits, everywhere) = hits?;
        let scored = hits.into_iter().map(|hit| Scored { key: hit.row_id, score: hit.score.into() });
        Ok(LegOutcome::new(Leg::Lexical, Ranking::new(scored), everywhere, started, &span))
    }

    /// Finds by meaning, with the vector that was given or one made now.
    pub(super) async fn semantic(
        &self,
        embedder: &dyn Embedder,
        given: Option<Vec<f32>>,
        deadline: Deadline,
    ) -> Result<LegOutcome, Error> {
        let started = Instant::now();
        let (vector, tokens) = match given {
            Some(vector) => (vector, None),
            None => self.encode(embedder, deadline).await?,
        };
        let encoded = tokens.map(|tokens| (vector.clone(), tokens));
        let span = telemetry::leg(Leg::Semantic, &self.collection.spec().name, self.published.version());
        let measured = telemetry::Measured::begin(Leg::Semantic);
        let hits = self.nearest(vector).instrument(span.clone()).await;
        let hits = hits.map_err(|error| read_error(self.collection, &error));
        measured.ended(&hits);
        let (hits, everywhere) = hits?;
        // Chunks of nothing but markup have vectors of zeros: they are kept for their documents, and answer no query.
        let near = hits.into_iter().filter(|hit| hit.similarity != 0.0);
        let scored = near.map(|hit| Scored { key: hit.row_id, score: hit.similarity.into() });
        Ok(LegOutcome { encoded, ..LegOutcome::new(Leg::Semantic, Ranking::new(scored), everywhere, started, &span) })
    }

    /// The nearest rows, and what is known of all rows where the fusion asks for it.
    async fn nearest(&self, vector: Vec<f32>) -> Result<(Vec<VectorHit>, Option<Everywhere>), CollectionError> {
        let Some(vectors) = self.vectors_in_memory().cloned() else {
            let (table, filter) = (&self.published.table, self.filter.as_deref());
            let hits = match self.query.exact {
                true => table.nearest_of_all(&vector, self.depth, filter).await?,
                false => table.nearest(&vector, self.depth, filter).await?,
            };
            return Ok((hits, None));
        };
        let among = match self.filter.clone() {
            None => None,
            Some(filter) => {
                // Vectors in memory know nothing of metadata; the lexical index of the same version does.
                let lexical = self.published.lexical.clone();
                let matching = tokio::task::spawn_blocking(move || lexical.matching(&filter));
                Some(AbortOnDropHandle::new(matching).await??)
            }
        };
        let (depth, everywhere) = (self.depth, self.looks_everywhere());
        let scan = tokio::task::spawn_blocking(move || {
            let nearest = vectors.nearest(&vector, depth, among.as_ref());
            (nearest, everywhere.then(|| Everywhere::of_meanings(vectors, vector)))
        });
        Ok(AbortOnDropHandle::new(scan).await?)
    }

    /// Only z-scores of two legs look beyond the candidates.
    fn looks_everywhere(&self) -> bool {
        let z_scores = Fusion::Convex { normalisation: Normalisation::ZScore };
        self.query.legs == Legs::Both && self.query.fusion == z_scores && self.vectors_in_memory().is_some()
    }

    /// None above their budget, and where the query asks for the table itself.
    fn vectors_in_memory(&self) -> Option<&ExactVectors> {
        self.published.vectors.as_ref().filter(|_| !self.query.exact)
    }

    /// The query's vector, and those of its tokens where they will be wanted: one pass makes both.
    async fn encode(
        &self,
        embedder: &dyn Embedder,
        deadline: Deadline,
    ) -> Result<(Vec<f32>, Option<GivenTokens>), Error> {
        if let Some(column) = &self.tokens {
            let both = encode_both(embedder, self.collection.spec(), column, &self.query.text, deadline).await?;
            if let Some((vector, tokens)) = both {
                return Ok((vector, Some(tokens)));
            }
        }
        Ok((self.embed(embedder, deadline).await?, None))
    }

    async fn embed(&self, embedder: &dyn Embedder, deadline: Deadline) -> Result<Vec<f32>, Error> {
        let spec = self.collection.spec();
        let vectors = embedder.embed(&spec.embedder, vec![self.query.text.clone()], Lane::Query, deadline).await?;
        let mut vectors = checked_vectors(vectors, 1, spec.dimension)?;
        vectors.pop().ok_or_else(|| Error::new(Reason::Internal, "the embedder gave no vector"))
    }
}

impl LegOutcome {
    fn new(
        leg: Leg,
        ranking: Ranking<u64>,
        everywhere: Option<Everywhere>,
        started: Instant,
        span: &tracing::Span,
    ) -> Self {
        telemetry::record_rows(span, ranking.len());
        Self { leg, encoded: None, ranking, everywhere, elapsed: started.elapsed() }
    }

    pub(super) fn report(&self) -> LegReport {
        LegReport { leg: self.leg, candidates: self.ranking.len(), elapsed: self.elapsed, missing: None }
    }

    /// The leg's own ranking as the answer: its score is the score, and all of it is the leg's share.
    pub(super) fn into_alone(self) -> impl Iterator<Item = Fused<u64>> {
        let items = self.ranking.items().to_vec();
        items.into_iter().zip(1_u32..).map(|(item, rank)| {
            let part = Part { rank, score: item.score, normalised: item.score, share: item.score };
            Fused { key: item.key, score: item.score, parts: vec![Some(part)] }
        })
    }
}

/// What a failed read means to the client. The cause goes to the log.
pub(crate) fn read_error(collection: &Collection, error: &CollectionError) -> Error {
    let name = &collection.spec().name;
    if collection.is_closed() {
        return Error::new(Reason::CollectionNotFound, format!("the collection {name:?} was deleted"));
    }
    tracing::error!(collection = name, error = error as &dyn std::error::Error, "collection cannot be read");
    Error::new(Reason::CollectionDamaged, format!("the collection {name:?} cannot be read"))
}
