//! Searching one collection: both legs at once, on one pair of snapshots, fused.

mod annotate;
mod assemble;
mod completion;
mod filter;
mod legs;
mod partial;
mod rerank;
mod state;
mod telemetry;
mod vector;

use crate::collection::{AsOf, Collection, EmbedderRef, Published};
use crate::embedder::Embedder;
use crate::filter::Filter;
use crate::given_vector::GivenVector;
use crate::lexical::TermPart;
use crate::vector::StoredChunk;
use legs::LegOutcome;
use partial::Settled;
use rerank::SecondStage;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::Instrument;
use trivium_ranking::fusion::{Fused, Fusion, Part, Weight, fuse};
use trivium_service_kit::{Deadline, Error};

pub(crate) use legs::read_error;
pub use partial::{Missing, Partial};
pub(crate) use rerank::{DEFAULT_DEPTH, Report, Rescored, TokenAnswer, Wish};

/// One way of finding passages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// By words.
    Lexical,
    /// By meaning.
    Semantic,
}

/// The legs of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Legs {
    /// One leg, whose own ranking is the answer.
    One(Leg),
    /// Both legs, fused.
    Both,
}

impl Legs {
    fn has(self, leg: Leg) -> bool {
        self == Self::Both || self == Self::One(leg)
    }
}

/// What to search for, checked.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// The query, as the client wrote it.
    pub text: String,
    /// Its vectors, each with the encoder that made it; empty to have one made.
    pub vectors: Vec<GivenVector>,
    /// The legs to run.
    pub legs: Legs,
    /// How many hits, at least 1.
    pub k: usize,
    /// How two legs become one ranking.
    pub fusion: Fusion,
    /// Weights of the lexical and of the semantic leg.
    pub weights: [Weight; 2],
    /// The second stage.
    pub rerank: Wish,
    /// Whether each document gives its best chunk alone.
    pub group_by_document: bool,
    /// Whether the lexical leg's scores are explained term by term.
    pub explain: bool,
    /// Whether the semantic leg reads the table itself, past the vectors in memory.
    pub exact: bool,
    /// The least version to answer from; 0 for any.
    pub min_version: u64,
    /// A condition on the documents, as the client wrote it; checked when the collection is known.
    pub filter: Option<String>,
    /// The earlier state to answer from, looked for once the least version is published; `None` for the published one.
    pub as_of: Option<AsOf>,
    /// Leave to answer with one leg where both are asked for and the other fails; `None` where such a search fails.
    pub partial: Option<Partial>,
}

/// One passage that was found.
#[derive(Debug, Clone)]
pub struct Hit {
    /// The passage.
    pub chunk: StoredChunk,
    /// The fused score, or the one leg's own.
    pub score: f64,
    /// What each leg that found it said.
    pub legs: Vec<(Leg, Part)>,
    /// Where its text matches words of the query, as ranges of code points, in order and without overlap.
    pub highlights: Vec<Range<u32>>,
    /// What each term gave to the lexical leg's score, largest first; empty unless the query asks to explain.
    pub lexical_terms: Vec<TermPart>,
    /// What the second stage said of it, where it was among its candidates.
    pub rescored: Option<Rescored>,
    /// Which tokens of it answered those of the query; empty unless the query asks to explain.
    pub token_answers: Vec<TokenAnswer>,
}

/// How one leg went.
#[derive(Debug, Clone)]
pub struct LegReport {
    /// The leg.
    pub leg: Leg,
    /// Candidates that it gave.
    pub candidates: usize,
    /// Time that it took, making the query's vector included.
    pub elapsed: Duration,
    /// Why the other leg answers without it; `None` when it does not.
    pub missing: Option<Missing>,
}

/// What was found, and where it comes from.
#[derive(Debug)]
pub struct Found {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// The state that both legs read.
    pub published: Arc<Published>,
    /// The encoder of the semantic leg, when it ran.
    pub embedder: Option<EmbedderRef>,
    /// Each leg that was asked for.
    pub legs: Vec<LegReport>,
    /// How the second stage went, if one was wanted.
    pub rerank: Option<Report>,
    /// Time of the whole search.
    pub elapsed: Duration,
}

/// How deep the legs look.
#[derive(Debug, Clone, Copy)]
pub struct Depth {
    /// The least candidates of each leg; a search for more hits raises it.
    pub candidates: usize,
    /// What the second stage may take.
    pub rerank_budget: Duration,
}

/// Most candidates of one leg, however many hits are asked for.
const MAX_CANDIDATES: usize = 4_000;
/// Chunks that are expected of one document among the candidates, when hits are grouped.
const CHUNKS_PER_DOCUMENT: usize = 4;

impl Depth {
    fn of(self, query: &SearchQuery) -> usize {
        let factor = if query.group_by_document { CHUNKS_PER_DOCUMENT } else { 1 };
        self.candidates.max(query.k.saturating_mul(factor)).min(MAX_CANDIDATES.max(query.k))
    }
}

/// Searches a collection.
///
/// # Errors
/// `EMBEDDER_MISMATCH` and `VECTOR_INVALID` for the query's vectors, `FILTER_INVALID`, `COLLECTION_DAMAGED` when the
/// files cannot be read, `DEADLINE_EXCEEDED`, and whatever the making of a vector gives.
pub async fn search(
    collection: &Collection,
    embedder: &dyn Embedder,
    query: SearchQuery,
    depth: Depth,
    deadline: Deadline,
) -> Result<Found, Error> {
    let query = SearchQuery { rerank: query.rerank.or(collection.rerank()), ..query };
    let span = telemetry::retrieval(&collection.spec().name, &query);
    let found = within(collection, embedder, query, depth, deadline).instrument(span.clone()).await;
    match &found {
        Ok(found) => telemetry::record_found(&span, found),
        Err(error) => telemetry::record_failed(&span, error),
    }
    found
}

/// A search, inside its span.
async fn within(
    collection: &Collection,
    embedder: &dyn Embedder,
    query: SearchQuery,
    depth: Depth,
    deadline: Deadline,
) -> Result<Found, Error> {
    let filter = filter::parse(query.filter.as_deref(), collection.spec())?;
    let published = state::awaited(collection, query.min_version, deadline).await?;
    let work = async {
        let published = state::read(collection, published, query.as_of.as_ref()).await?;
        run(collection, published, embedder, query, filter, depth, deadline).await
    };
    deadline.limit("the search", work).await?
}

async fn run(
    collection: &Collection,
    published: Arc<Published>,
    embedder: &dyn Embedder,
    query: SearchQuery,
    filter: Option<Arc<Filter>>,
    depth: Depth,
    deadline: Deadline,
) -> Result<Found, Error> {
    let started = Instant::now();
    let given = vector::choose(&query.vectors, collection.spec())?;
    let given_tokens = rerank::given_tokens(&query.vectors, collection.spec())?;
    let given_vector = given.clone();
    let method = query.rerank.method(&query, &published);
    let tokens = method.and_then(|method| rerank::token_column(method, &published));
    let search =
        legs::LegSearch { collection, published: &published, query: &query, filter, depth: depth.of(&query), tokens };
    let Settled { mut outcomes, missing } = search.settle(embedder, given, deadline).await?;
    let has = |leg| outcomes.iter().any(|outcome| outcome.leg == leg);
    let encoder = has(Leg::Semantic).then(|| collection.spec().embedder.clone());
    let has_words = has(Leg::Lexical);
    let encoded = given_vector.map(|vector| (vector, given_tokens));
    let mut made = || outcomes.iter_mut().find_map(|outcome| outcome.encoded.take());
    let encoded = encoded.or_else(|| made().map(|(vector, tokens)| (vector, Some(tokens))));
    let legs: Vec<LegReport> = outcomes.iter().map(LegOutcome::report).chain(missing).collect();
    let mut ranking = rank(collection, outcomes, &query).await?;
    let rerank = match method.filter(|_| ranking.rows.len() > 1) {
        Some(method) => {
            let deadline = deadline.for_downstream().min(Deadline::after(depth.rerank_budget));
            let encoder_away = legs.iter().find(|leg| leg.leg == Leg::Semantic).and_then(|leg| leg.missing.as_ref());
            let stage = SecondStage {
                collection,
                published: &published,
                embedder,
                query: &query,
                encoded,
                encoder_away,
                deadline,
            };
            Some(stage.run(method, &mut ranking).await)
        }
        None => None,
    };
    let hits = assemble::hits(collection, &published, ranking, &query).await?;
    // Without the lexical leg there are no words to mark, and its index may be what is broken.
    let hits = if has_words { annotate::annotate(collection, &published, hits, &query).await? } else { hits };
    let hits = match query.explain {
        true => rerank::explain(collection, &published, embedder, hits, &query, deadline).await?,
        false => hits,
    };
    Ok(Found { hits, published, embedder: encoder, legs, rerank, elapsed: started.elapsed() })
}

/// A ranking of row ids, and the legs that its parts stand for.
struct Ranked {
    legs: Vec<Leg>,
    rows: Vec<Fused<u64>>,
    /// What the second stage said of the first of them.
    rescored: HashMap<u64, Rescored>,
}

async fn rank(collection: &Collection, outcomes: Vec<LegOutcome>, query: &SearchQuery) -> Result<Ranked, Error> {
    let legs: Vec<Leg> = outcomes.iter().map(|outcome| outcome.leg).collect();
    let rows = match outcomes.len() {
        1 => outcomes.into_iter().flat_map(LegOutcome::into_alone).collect(),
        _ => {
            let fused = async {
                let weighted = completion::weighted(collection, outcomes, query).await?;
                Ok::<_, Error>(fuse(&weighted, &query.fusion))
            };
            fused.instrument(telemetry::fuse(query)).await?
        }
    };
    Ok(Ranked { legs, rows, rescored: HashMap::new() })
}
