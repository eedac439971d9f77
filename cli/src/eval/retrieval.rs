//! Runs the queries of a set through each way of retrieval, and scores the rankings.

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use trivium_proto::{
    model::v1::{EmbedPriority, EmbedRequest, ModelRef, QueryVector},
    retriever::v1::{
        ConvexFusion, Fusion, Leg, LegWeights, Normalisation, ReciprocalRankFusion, SearchRequest, fusion::Method,
    },
};
use trivium_ranking::metrics::{mean, ndcg_at, recall_at, reciprocal_rank_at};
use trivium_service_kit::Error;

use super::beir::Query;
use crate::clients::{ModelHost, Retriever};

/// Documents that each ranking holds; recall is measured down to here.
const DEPTH: u32 = 100;

/// Texts in one request for vectors.
const EMBED_BATCH: usize = 64;

/// Searches at the same time.
const CONCURRENCY: usize = 4;

/// One way of retrieval.
#[derive(Debug, Clone)]
pub struct Way {
    /// Its name in the report.
    pub name: String,
    legs: Vec<Leg>,
    fusion: Option<Fusion>,
}

impl Way {
    /// Each leg alone, both with the default fusion, and both with others for comparison.
    pub fn all() -> Vec<Self> {
        let single = |name: &str, leg| Self { name: name.to_owned(), legs: vec![leg], fusion: None };
        let mut ways = vec![single("lexical", Leg::Lexical), single("semantic", Leg::Semantic)];
        ways.push(Self::fused("hybrid".to_owned(), None));
        let method = Method::ReciprocalRank(ReciprocalRankFusion { k: 60.0 });
        ways.push(Self::fused("rrf_60".to_owned(), Some(fusion(method, 0.5))));
        let normalisations =
            [("max", Normalisation::Max), ("min_max", Normalisation::MinMax), ("z", Normalisation::ZScore)];
        for (name, normalisation) in normalisations {
            for semantic in [0.5, 0.7] {
                let method = Method::Convex(ConvexFusion { normalisation: normalisation.into() });
                ways.push(Self::fused(format!("convex_{name}_{semantic}"), Some(fusion(method, semantic))));
            }
        }
        ways
    }

    fn fused(name: String, fusion: Option<Fusion>) -> Self {
        Self { name, legs: vec![Leg::Lexical, Leg::Semantic], fusion }
    }
}

fn fusion(method: Method, semantic: f64) -> Fusion {
    Fusion { method: Some(method), weights: Some(LegWeights { lexical: 1.0 - semantic, semantic }) }
}

/// The quality of a way over all queries, each figure 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// Normalised discounted cumulative gain of the first 10.
    #[serde(rename = "ndcg@10")]
    pub ndcg_10: f64,
    /// Share of the relevant documents among the first 10.
    #[serde(rename = "recall@10")]
    pub recall_10: f64,
    /// Share of the relevant documents among the first 100.
    #[serde(rename = "recall@100")]
    pub recall_100: f64,
    /// Mean of one over the rank of the first relevant document among the first 10.
    #[serde(rename = "mrr@10")]
    pub mrr_10: f64,
}

/// Vectors of the queries, in their order, by the given encoder. They are the
/// same for every way, so they are made once.
///
/// # Errors
/// When the model host cannot make them.
pub async fn embed(host: &ModelHost, embedder: &ModelRef, queries: &[Query]) -> Result<Vec<QueryVector>, Error> {
    let mut vectors = Vec::with_capacity(queries.len());
    for batch in queries.chunks(EMBED_BATCH) {
        let request = EmbedRequest {
            texts: batch.iter().map(|query| query.text.clone()).collect(),
            model: Some(embedder.clone()),
            priority: EmbedPriority::Query.into(),
        };
        let embedded = host.embed(request).await?.embeddings;
        vectors.extend(
            embedded
                .into_iter()
                .map(|embedding| QueryVector { embedder: Some(embedder.clone()), values: embedding.values }),
        );
    }
    Ok(vectors)
}

/// Searches for every query one way, and scores what comes back. `done` is told after each query.
///
/// # Errors
/// The first search that fails.
pub async fn measure(
    retriever: &Retriever,
    collection: &str,
    way: &Way,
    queries: &[Query],
    vectors: &[QueryVector],
    done: &(dyn Fn() + Sync),
) -> Result<Figures, Error> {
    let searches = queries.iter().zip(vectors).map(|(query, vector)| async move {
        let found = retriever.search(request(collection, way, query, vector)).await?;
        // BEIR's own scorer leaves a document out that is the query itself.
        let ids = found.hits.into_iter().map(|hit| hit.document_id).filter(|id| *id != query.id);
        let scores = Scores::of(&ids.collect::<Vec<_>>(), query);
        done();
        Ok::<_, Error>(scores)
    });
    let scores: Vec<Scores> = stream::iter(searches).buffer_unordered(CONCURRENCY).try_collect().await?;
    Ok(Figures::mean_of(&scores))
}

fn request(collection: &str, way: &Way, query: &Query, vector: &QueryVector) -> SearchRequest {
    SearchRequest {
        collection: collection.to_owned(),
        query: query.text.clone(),
        vectors: vec![vector.clone()],
        legs: way.legs.iter().map(|leg| (*leg).into()).collect(),
        k: Some(DEPTH),
        fusion: way.fusion,
        group_by_document: true,
        ..SearchRequest::default()
    }
}

struct Scores {
    ndcg_10: f64,
    recall_10: f64,
    recall_100: f64,
    reciprocal_rank_10: f64,
}

impl Scores {
    fn of(ranking: &[String], query: &Query) -> Self {
        Self {
            ndcg_10: ndcg_at(ranking, &query.judgements, 10),
            recall_10: recall_at(ranking, &query.judgements, 10),
            recall_100: recall_at(ranking, &query.judgements, 100),
            reciprocal_rank_10: reciprocal_rank_at(ranking, &query.judgements, 10),
        }
    }
}

impl Figures {
    fn mean_of(scores: &[Scores]) -> Self {
        let over = |figure: fn(&Scores) -> f64| {
            // Sorted, because the order in which searches end must not show in the last digit.
            let mut values: Vec<f64> = scores.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            mean(&values).unwrap_or(0.0)
        };
        Self {
            ndcg_10: over(|scores| scores.ndcg_10),
            recall_10: over(|scores| scores.recall_10),
            recall_100: over(|scores| scores.recall_100),
            mrr_10: over(|scores| scores.reciprocal_rank_10),
        }
    }
}

#[cfg(test)]
mod tests {
    use trivium_ranking::metrics::Judgements;

    use super::*;

    #[test]
    fn figures_have_the_names_of_the_contract() {
        let judgements = Judgements::new([("a".to_owned(), 1)]).expect("relevant");
        let query = Query { id: "q".into(), text: "x".into(), judgements };
        let right = Scores::of(&["a".to_owned()], &query);
        let second = Scores::of(&["b".to_owned(), "a".to_owned()], &query);
        let json = serde_json::to_value(Figures::mean_of(&[right, second])).expect("JSON");
        assert_eq!(json["mrr@10"], 0.75);
        assert_eq!(json["recall@10"], 1.0);
        assert_eq!(json["recall@100"], 1.0);
        assert!(json["ndcg@10"].as_f64().is_some_and(|figure| (figure - 0.815_464_876).abs() < 1e-6));
    }

    #[test]
    fn the_three_ways_of_the_contract_come_first_and_names_are_unique() {
        let names: Vec<String> = Way::all().into_iter().map(|way| way.name).collect();
        assert_eq!(names[..3], ["lexical", "semantic", "hybrid"]);
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
    }
}
