//! The second stage: token vectors that are kept with the chunks, and what they do to the order of hits.

use crate::hashing_embedder::{DIMENSION, model, token_vectors, vector};
use crate::service::{DOCS, Running, plain, search};
use trivium_proto::model::v1::{ModelRef, QueryVector, TokenVectors};
use trivium_proto::retriever::v1::*;
use trivium_service_kit::Reason;

/// A query, and documents of which the words alone prefer "often", which repeats one of them.
const QUERY: &str = "red house garden";

fn documents() -> Vec<Document> {
    vec![
        plain("often", "red red red red red red red house"),
        plain("answer", "the answer has a red house and a garden with many other words about roads and rivers"),
        plain("aside", "a garden of stones"),
    ]
}

fn serve_projection(running: &Running, version: Option<&'static str>) {
    *running.embedder.projection.lock().unwrap() = version;
}

/// A collection with token vectors.
async fn with_tokens() -> Running {
    let mut running = Running::start().await;
    serve_projection(&running, Some("1"));
    running.create(DOCS, Vec::new()).await.unwrap();
    running.upsert(documents()).await;
    running
}

fn rerank(method: RerankMethod) -> Rerank {
    Rerank { method: method.into(), depth: None, weight: Some(1.0) }
}

fn by(method: RerankMethod) -> SearchRequest {
    SearchRequest { rerank: Some(rerank(method)), ..search(QUERY) }
}

fn ids(response: &SearchResponse) -> Vec<&str> {
    response.hits.iter().map(|hit| hit.document_id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn late_interaction_reorders_the_first_hits_and_says_what_it_did() {
    let mut running = with_tokens().await;
    let fused = running.search(by(RerankMethod::None)).await.unwrap();
    assert_eq!((fused.rerank.is_some(), fused.hits[0].rerank.is_some()), (false, false));
    let embedded = running.embedder.embedded();
    let reranked = running.search(by(RerankMethod::LateInteraction)).await.unwrap();
    assert_eq!(running.embedder.embedded(), embedded + 1, "one pass gives the vector and the token vectors");
    assert_eq!(reranked.hits[0].document_id, "answer", "it alone has every word of the query");
    let report = reranked.rerank.as_ref().unwrap();
    assert_eq!((report.method(), report.candidates, report.scored), (RerankMethod::LateInteraction, 3, 3));
    assert_eq!(report.model.as_ref().unwrap().name, "hashing-tokens");
    assert_eq!((report.weight, report.left_out_reason.as_str()), (1.0, ""));
    for (hit, rank) in reranked.hits.iter().zip(1..) {
        let moved = hit.rerank.unwrap();
        assert_eq!(moved.rank_after, rank);
        assert_eq!(fused.hits[moved.rank_before as usize - 1].chunk_id, hit.chunk_id);
        let shares: f64 = hit.legs.iter().map(|leg| leg.share).sum();
        assert!((shares - hit.score).abs() < 1e-9, "the fused score stays, with its shares");
    }
    let best = reranked.hits[0].rerank.unwrap();
    assert!((best.passage_score.unwrap() - 1.0).abs() < 0.01);
    let semantic = reranked.hits[0].legs.iter().find(|leg| leg.leg() == Leg::Semantic).unwrap().score;
    assert!((best.beginning_score.unwrap() - semantic).abs() < 1e-5, "a document of one chunk begins with it");
    let both = 0.8 * best.passage_score.unwrap() + 0.2 * best.beginning_score.unwrap();
    assert!((best.score.unwrap() - both).abs() < 1e-9);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_the_default_where_the_query_is_encoded_anyway() {
    let mut running = with_tokens().await;
    let described = running.describe(DOCS).await;
    assert_eq!(described.token_projection.unwrap().version, "1");
    let hybrid = running.search(search(QUERY)).await.unwrap();
    assert_eq!(hybrid.rerank.unwrap().method(), RerankMethod::LateInteraction);
    let lexical = SearchRequest { legs: vec![Leg::Lexical.into()], ..search(QUERY) };
    assert!(running.search(lexical).await.unwrap().rerank.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn token_vectors_that_come_along_are_used_as_they_are() {
    let mut running = with_tokens().await;
    let tokens = |version: &str, text: &str| TokenVectors {
        projection: Some(ModelRef { name: "hashing-tokens".into(), version: version.into() }),
        dimension: DIMENSION as u32,
        values: token_vectors(text).into_iter().map(i8::cast_unsigned).collect(),
    };
    let with = |token_vectors| {
        let embedder = Some(ModelRef { name: model().name, version: model().version });
        let query = QueryVector { embedder, values: vector(QUERY), token_vectors: Some(token_vectors) };
        SearchRequest { vectors: vec![query], ..by(RerankMethod::LateInteraction) }
    };
    let embedded = running.embedder.embedded();
    // Token vectors of another text show that it is they that count.
    let aside = running.search(with(tokens("1", "stones"))).await.unwrap();
    assert_eq!((aside.hits[0].document_id.as_str(), running.embedder.embedded()), ("aside", embedded));
    // Those of another projection are never compared.
    let other = running.search(with(tokens("2", "stones"))).await.unwrap();
    assert_eq!((other.hits[0].document_id.as_str(), running.embedder.embedded()), ("answer", embedded + 1));
    // Nothing is encoded for a caller who brought a vector alone, unless they ask for this stage.
    let alone = |method| {
        let mut request = with(tokens("1", "stones"));
        request.vectors[0].token_vectors = None;
        SearchRequest { rerank: Some(rerank(method)), ..request }
    };
    let default = running.search(alone(RerankMethod::Unspecified)).await.unwrap();
    assert_eq!(default.rerank.unwrap().left_out_reason, "FIELD_MISSING");
    assert_eq!(running.embedder.embedded(), embedded + 1);
    running.search(alone(RerankMethod::LateInteraction)).await.unwrap();
    assert_eq!(running.embedder.embedded(), embedded + 2);
    for broken in
        [TokenVectors { dimension: 0, ..tokens("1", "a") }, TokenVectors { values: vec![1], ..tokens("1", "a") }]
    {
        let refused = running.search(with(broken)).await.unwrap_err();
        assert_eq!((refused.reason(), refused.field()), (Reason::VectorInvalid, Some("vectors[0].token_vectors")));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_from_before_goes_on_without() {
    let mut running = Running::with_collection().await;
    running.upsert(documents()).await;
    serve_projection(&running, Some("1"));
    assert_eq!(running.describe(DOCS).await.token_projection, None);
    let plain = running.search(search(QUERY)).await.unwrap();
    assert!(plain.rerank.is_none());
    let asked = running.search(by(RerankMethod::LateInteraction)).await.unwrap();
    assert_eq!(ids(&asked), ids(&plain));
    let report = asked.rerank.unwrap();
    assert_eq!((report.left_out_reason.as_str(), report.scored), ("NO_MODEL", 0));
    assert!(report.left_out_detail.contains("no token vectors"), "{}", report.left_out_detail);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_projection_the_fused_order_stands_and_documents_are_refused() {
    let mut running = with_tokens().await;
    let fused = running.search(by(RerankMethod::None)).await.unwrap();
    serve_projection(&running, Some("2"));
    let found = running.search(by(RerankMethod::LateInteraction)).await.unwrap();
    assert_eq!(ids(&found), ids(&fused));
    assert_eq!(found.rerank.unwrap().left_out_reason, "MODEL_NOT_FOUND");
    let (acknowledged, refused) =
        running.stream(vec![crate::service::batch("b", vec![plain("new", "a new one")])]).await;
    assert!(acknowledged.is_empty());
    assert_eq!(trivium_service_kit::Error::from(refused.unwrap()).reason(), Reason::ModelNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_vectors_outlive_restarts_and_earlier_states_keep_theirs() {
    let mut running = with_tokens().await;
    let first = running.search(by(RerankMethod::LateInteraction)).await.unwrap();
    let version = first.snapshot.as_ref().unwrap().version;
    running.upsert(vec![plain("answer", "nothing of the kind"), plain("late", "red house garden")]).await;
    let mut running = running.restart_after(|_| ()).await;
    serve_projection(&running, Some("1"));
    let now = running.search(by(RerankMethod::LateInteraction)).await.unwrap();
    assert_eq!(now.hits[0].document_id, "late");
    let as_of = Some(AsOf { state: Some(as_of::State::Version(version)) });
    let then = running.search(SearchRequest { as_of, ..by(RerankMethod::LateInteraction) }).await.unwrap();
    assert_eq!(then.hits, first.hits, "an earlier state gives the scores that it gave");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_depth_bounds_what_moves() {
    let mut running = with_tokens().await;
    let fused = running.search(by(RerankMethod::None)).await.unwrap();
    let shallow = Rerank { depth: Some(2), ..rerank(RerankMethod::LateInteraction) };
    let found = running.search(SearchRequest { rerank: Some(shallow), ..search(QUERY) }).await.unwrap();
    assert_eq!(found.rerank.as_ref().unwrap().candidates, 2);
    assert_eq!((found.hits[2].rerank, &found.hits[2].chunk_id), (None, &fused.hits[2].chunk_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cross_encoder_reads_the_passages() {
    let mut running = Running::with_collection().await;
    running.upsert(documents()).await;
    let found = running.search(by(RerankMethod::CrossEncoder)).await.unwrap();
    let report = found.rerank.as_ref().unwrap();
    assert_eq!((report.method(), report.scored), (RerankMethod::CrossEncoder, 3));
    assert_eq!(report.model.as_ref().unwrap().name, "cross");
    assert_eq!(found.hits[0].document_id, "answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stage_that_takes_too_long_is_left_out() {
    let mut running = Running::start_with(|options| options.rerank_budget_ms = 1).await;
    running.create(DOCS, Vec::new()).await.unwrap();
    running.upsert(documents()).await;
    let slowly = |method| SearchRequest { query: "slowly red house".into(), ..by(method) };
    let fused = running.search(slowly(RerankMethod::None)).await.unwrap();
    let found = running.search(slowly(RerankMethod::CrossEncoder)).await.unwrap();
    assert_eq!(ids(&found), ids(&fused));
    assert_eq!(found.rerank.unwrap().left_out_reason, "DEADLINE_EXCEEDED");
}

async fn upgraded(running: &mut Running) -> Collection {
    loop {
        let described = running.describe(DOCS).await;
        if described.token_upgrade.as_ref().is_none_or(|upgrade| !upgrade.problem.is_empty()) {
            return described;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_from_before_is_given_token_vectors() {
    let mut running = Running::with_collection().await;
    running.upsert(documents()).await;
    let before = running.search(search(QUERY)).await.unwrap();
    let refused = running.upgrade(DOCS).await.unwrap_err();
    assert_eq!(refused.reason(), Reason::NoModel, "no projection serves");
    assert_eq!(running.describe(DOCS).await.token_upgrade, None, "a refused upgrade changes nothing");
    serve_projection(&running, Some("1"));
    running.upgrade(DOCS).await.unwrap();
    // The collection takes documents meanwhile.
    running.upsert(vec![plain("meanwhile", "a red garden")]).await;
    let described = upgraded(&mut running).await;
    assert_eq!((described.token_upgrade, described.documents), (None, 4));
    assert_eq!(described.token_projection.unwrap().version, "1");
    let found = running.search(by(RerankMethod::LateInteraction)).await.unwrap();
    let report = found.rerank.as_ref().unwrap();
    assert_eq!((report.scored, report.left_out_reason.as_str()), (4, ""));
    assert_eq!(found.hits[0].document_id, "answer");
    let check = running.check().await;
    assert!(check.problems.is_empty(), "{:?}", check.problems);
    let as_of = Some(AsOf { state: Some(as_of::State::Version(before.snapshot.unwrap().version)) });
    let then = running.search(SearchRequest { as_of, ..search(QUERY) }).await.unwrap();
    assert_eq!((&then.hits, then.rerank), (&before.hits, None), "an earlier state stays without");
    // Again, with nothing left to do.
    running.upgrade(DOCS).await.unwrap();
    assert_eq!(upgraded(&mut running).await.token_upgrade, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_goes_on_after_a_restart_and_says_why_it_stands_still() {
    let mut running = Running::with_collection().await;
    running.upsert(documents()).await;
    serve_projection(&running, Some("1"));
    running.upgrade(DOCS).await.unwrap();
    upgraded(&mut running).await;
    // A process that ended on the way leaves rows without token vectors, as documents with vectors of their own are, and
    // the mark that they are being added.
    let embedder = Some(ModelRef { name: model().name, version: model().version });
    let own = QueryVector { embedder, values: vector("own"), token_vectors: None };
    running.upsert(vec![Document { vector: Some(own), ..plain("own", "red house garden") }]).await;
    let mut running = running
        .restart_after(|folder| {
            std::fs::write(folder.join("collections").join(DOCS).join("token-upgrade"), "").unwrap();
        })
        .await;
    let stopped = upgraded(&mut running).await.token_upgrade.unwrap();
    assert_eq!((stopped.documents_left, stopped.problem.as_str()), (1, "MODEL_NOT_FOUND"));
    serve_projection(&running, Some("1"));
    running.upgrade(DOCS).await.unwrap();
    assert_eq!(upgraded(&mut running).await.token_upgrade, None);
    let found = running.search(by(RerankMethod::LateInteraction)).await.unwrap();
    assert_eq!(found.rerank.as_ref().unwrap().scored, 4);
    let own = found.hits.iter().find(|hit| hit.document_id == "own").unwrap().rerank.unwrap();
    assert!(own.passage_score.unwrap() > 0.99, "its tokens are those of its text, whatever its vector is");
}
