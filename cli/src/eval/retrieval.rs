//! Runs the queries of a set through each way of retrieval, and scores the rankings.

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use trivium_proto::{
    model::v1::QueryVector,
    retriever::v1::{
        ConvexFusion, Fusion, Leg, LegWeights, Normalisation, ReciprocalRankFusion, Rerank, RerankMethod,
        SearchRequest, fusion::Method,
    },
};
use trivium_ranking::metrics::{Bootstrap, Interval, mean, ndcg_at, paired_bootstrap, recall_at, reciprocal_rank_at};
use trivium_service_kit::Error;

use super::beir::Query;
use crate::clients::Retriever;

/// Documents that each ranking holds; recall is measured down to here.
const DEPTH: u32 = 100;

/// The way that searches take when nobody chose one.
pub const HYBRID: &str = "hybrid";

/// The way that searches take where the collection has token vectors and nobody chose one: hybrid, and late interaction.
pub const RERANKED: &str = "reranked";

/// Searches at the same time.
const CONCURRENCY: usize = 4;

/// One way of retrieval.
#[derive(Debug, Clone)]
pub struct Way {
    /// Its name in the report.
    pub name: String,
    legs: Vec<Leg>,
    fusion: Option<Fusion>,
    rerank: RerankMethod,
}

impl Way {
    /// Each leg alone, both with the default fusion, the same with a second stage where there are token vectors, and both
    /// with other fusions for comparison.
    pub fn all(token_vectors: bool) -> Vec<Self> {
        let rerank = RerankMethod::None;
        let single = |name: &str, leg| Self { name: name.to_owned(), legs: vec![leg], fusion: None, rerank };
        let mut ways = vec![single("lexical", Leg::Lexical), single("semantic", Leg::Semantic)];
        ways.push(Self::fused(HYBRID.to_owned(), None));
        if token_vectors {
            let rerank = RerankMethod::LateInteraction;
            ways.push(Self { rerank, ..Self::fused(RERANKED.to_owned(), None) });
        }
        let method = Method::ReciprocalRank(ReciprocalRankFusion { k: 60.0 });
        ways.push(Self::fused("rrf_60".to_owned(), Some(fusion(method, 0.5))));
        let normalisations =
            [("max", Normalisation::Max), ("min_max", Normalisation::MinMax), ("z", Normalisation::ZScore)];
        for (name, normalisation) in normalisations {
            for semantic in [0.5, 0.6, 0.7, 0.8] {
                let method = Method::Convex(ConvexFusion { normalisation: normalisation.into() });
                ways.push(Self::fused(format!("convex_{name}_{semantic}"), Some(fusion(method, semantic))));
            }
        }
        ways
    }

    fn fused(name: String, fusion: Option<Fusion>) -> Self {
        Self { name, legs: vec![Leg::Lexical, Leg::Semantic], fusion, rerank: RerankMethod::None }
    }
}

fn fusion(method: Method, semantic: f64) -> Fusion {
    Fusion { method: Some(method), weights: Some(LegWeights { lexical: 1.0 - semantic, semantic, own: 0.0 }) }
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

/// What a way reached on each query, in the order of the queries.
#[derive(Debug, Clone, Default)]
pub struct Scores(Vec<QueryScores>);

/// A way, what it reached, and how far chance may have moved that.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The way's name.
    #[serde(skip)]
    pub name: String,
    /// Means over all queries.
    #[serde(flatten)]
    pub figures: Figures,
    /// Where nDCG@10 lies with 95 % confidence: the ends of the bootstrap's interval.
    #[serde(rename = "ndcg@10_interval")]
    pub ndcg_10_interval: Option<[f64; 2]>,
    /// How much more nDCG@10 this way has than the default, with the ends of the paired bootstrap's 95 % interval; none for
    /// the default itself.
    #[serde(rename = "ndcg@10_beyond_hybrid")]
    pub beyond_hybrid: Option<Interval>,
}

impl Row {
    /// Sets a way's scores beside the default's.
    pub fn new(name: String, scores: &Scores, default: &Scores) -> Self {
        let values = scores.ndcg_10();
        let interval = |first: &[f64]| paired_bootstrap(first, &values, &Bootstrap::default()).ok();
        let own = interval(&vec![0.0; values.len()]);
        Self {
            figures: scores.figures(),
            ndcg_10_interval: own.map(|interval| [interval.low, interval.high]),
            beyond_hybrid: (name != HYBRID).then(|| interval(&default.ndcg_10())).flatten(),
            name,
        }
    }
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
) -> Result<Scores, Error> {
    let searches = queries.iter().zip(vectors).map(|(query, vector)| async move {
        let found = retriever.search(request(collection, way, query, vector)).await?;
        // BEIR's own scorer leaves a document out that is the query itself.
        let ids = found.hits.into_iter().map(|hit| hit.document_id).filter(|id| *id != query.id);
        let scores = QueryScores::of(&ids.collect::<Vec<_>>(), query);
        done();
        Ok::<_, Error>(scores)
    });
    stream::iter(searches).buffered(CONCURRENCY).try_collect().await.map(Scores)
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
        rerank: Some(Rerank { method: way.rerank.into(), ..Rerank::default() }),
        ..SearchRequest::default()
    }
}

#[derive(Debug, Clone, Copy)]
struct QueryScores {
    ndcg_10: f64,
    recall_10: f64,
    recall_100: f64,
    reciprocal_rank_10: f64,
}

impl QueryScores {
    fn of(ranking: &[String], query: &Query) -> Self {
        Self {
            ndcg_10: ndcg_at(ranking, &query.judgements, 10),
            recall_10: recall_at(ranking, &query.judgements, 10),
            recall_100: recall_at(ranking, &query.judgements, 100),
            reciprocal_rank_10: reciprocal_rank_at(ranking, &query.judgements, 10),
        }
    }
}

impl Scores {
    fn ndcg_10(&self) -> Vec<f64> {
        self.0.iter().map(|scores| scores.ndcg_10).collect()
    }

    fn figures(&self) -> Figures {
        let over =
            |figure: fn(&QueryScores) -> f64| mean(&self.0.iter().map(figure).collect::<Vec<_>>()).unwrap_or(0.0);
        Figures {
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
        let right = QueryScores::of(&["a".to_owned()], &query);
        let second = QueryScores::of(&["b".to_owned(), "a".to_owned()], &query);
        let (scores, default) = (Scores(vec![right, second]), Scores(vec![second, second]));
        let json = serde_json::to_value(Row::new("lexical".into(), &scores, &default)).expect("JSON");
        let gain = (1.0 - 1.0 / 3.0_f64.log2()) / 2.0;
        let difference = json["ndcg@10_beyond_hybrid"]["difference"].as_f64().expect("a number");
        assert!((difference - gain).abs() < 1e-9);
        assert_eq!(json["ndcg@10_interval"][1], 1.0);
        assert!(Row::new(HYBRID.into(), &scores, &scores).beyond_hybrid.is_none());
        assert_eq!(json["mrr@10"], 0.75);
        assert_eq!(json["recall@10"], 1.0);
        assert_eq!(json["recall@100"], 1.0);
        assert!(json["ndcg@10"].as_f64().is_some_and(|figure| (figure - 0.815_464_876).abs() < 1e-6));
    }

    #[test]
    fn the_three_ways_of_the_contract_come_first_and_names_are_unique() {
        let names: Vec<String> = Way::all(true).into_iter().map(|way| way.name).collect();
        assert_eq!(names[..4], ["lexical", "semantic", "hybrid", "reranked"]);
        assert!(Way::all(false).iter().all(|way| way.name != RERANKED));
        let unique: std::collections::BTreeSet<&String> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
    }
}
