//! Models that somebody else exported: encoders as embedders, cross-encoders as rerankers.

use std::collections::BTreeMap;

use tonic::{Code, Status};
use trivium_model_host::ModelOptions;
use trivium_model_host::bundle::{GRAPH_FILE, ModelRef, Pooling, PrecisionChoice, Prefixes, TOKENIZER_FILE};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::import::{Import, ImportKind, import};
use trivium_model_host::tokenize::Tokenizer;
use trivium_proto::model::v1 as proto;
use trivium_service_kit::Reason;

use crate::support::host::{Host, refusal};
use crate::support::{MAX_TOKENS, TinyBert, TinyModels, scorer, tiny};

const QUERY: &str = "how is the cache";
const DOCUMENTS: [&str; 4] = ["hello thanks", "the index of a cache", "moon", "the index of a cache"];

fn tokenizer() -> Vec<u8> {
    TinyBert::random(7).files().tokenizer
}

/// Words that the tiny tokenizer knows, and its four special tokens.
fn vocabulary() -> usize {
    let json: serde_json::Value = serde_json::from_slice(&tokenizer()).unwrap();
    json["model"]["vocab"].as_object().unwrap().len()
}

/// A models folder that holds the tiny cross-encoder as `scorer/1`.
fn with_scorer(max_tokens: usize) -> TinyModels {
    let models = TinyModels::new();
    let graph = scorer::onnx(vocabulary());
    let added = Import {
        name: "scorer".parse().unwrap(),
        graph: &graph,
        tokenizer: &tokenizer(),
        kind: ImportKind::CrossEncoder,
        max_tokens,
        origin: "a test".to_owned(),
    };
    assert_eq!(import(&models.registry, added).unwrap(), ModelRef::new("scorer", "1").unwrap());
    models
}

fn request(query: &str, documents: &[&str]) -> proto::RerankRequest {
    let documents = documents.iter().map(|&document| document.to_owned()).collect();
    proto::RerankRequest { query: query.to_owned(), documents, ..proto::RerankRequest::default() }
}

async fn rerank(host: &mut Host, request: proto::RerankRequest) -> Result<proto::RerankResponse, Status> {
    Ok(host.client.rerank(request).await?.into_inner())
}

/// What the graph computes, by hand.
fn expected(document: &str) -> f64 {
    let tokenizer = Tokenizer::from_json(&tokenizer(), 64).unwrap();
    let pair = tokenizer.encode_pair(QUERY, document).unwrap();
    let first = pair.ids.len() - pair.second_tokens;
    let weighted = |(index, id): (usize, &u32)| scorer::weight(*id as usize) * if index < first { 1.0 } else { 2.0 };
    f64::from(pair.ids.iter().enumerate().map(weighted).sum::<f32>())
}

#[tokio::test]
async fn documents_are_scored_and_the_best_comes_first() {
    let mut host = Host::start_with(with_scorer(64), |options| options.reranker = "scorer".to_owned()).await;
    let response = rerank(&mut host, request(QUERY, &DOCUMENTS)).await.unwrap();
    assert_eq!(response.model.unwrap().name, "scorer");
    assert_eq!(response.scores.len(), DOCUMENTS.len());
    for score in &response.scores {
        let expected = expected(DOCUMENTS[score.index as usize]);
        assert!((score.score - expected).abs() < 1e-4, "{} is not {expected}", score.score);
        assert!(!score.truncated);
    }
    assert!(response.scores.is_sorted_by(|a, b| a.score >= b.score));
    // Equal scores keep the order of the request.
    let places: Vec<u32> = response.scores.iter().map(|score| score.index).collect();
    let (first, second) = (places.iter().position(|&i| i == 1).unwrap(), places.iter().position(|&i| i == 3).unwrap());
    assert_eq!(second, first + 1);
    assert!(response.timings.unwrap().forward_ms > 0.0);
}

#[tokio::test]
async fn a_pair_beyond_the_limit_is_cut_and_says_so() {
    let mut host = Host::start_with(with_scorer(8), |options| options.reranker = "scorer".to_owned()).await;
    let response = rerank(&mut host, request(QUERY, &["moon ".repeat(50).as_str()])).await.unwrap();
    assert!(response.scores[0].truncated);
}

#[tokio::test]
async fn bad_rerankings_are_refused_by_field() {
    let mut host = Host::start_with(with_scorer(64), |options| {
        options.models = BTreeMap::from([("scorer".to_owned(), ModelOptions::default())]);
    })
    .await;
    let many = vec!["a"; 257];
    let named = |name: &str| {
        let model = proto::ModelRef { name: name.to_owned(), version: String::new() };
        proto::RerankRequest { model: Some(model), ..request(QUERY, &["a"]) }
    };
    let table = [
        (request(QUERY, &["a"]), Code::FailedPrecondition, Reason::NoModel, None),
        (named("tiny"), Code::NotFound, Reason::ModelNotFound, Some("model")),
        (request("", &["a"]), Code::InvalidArgument, Reason::QueryEmpty, Some("query")),
        (request(QUERY, &[]), Code::InvalidArgument, Reason::FieldMissing, Some("documents")),
        (request(QUERY, &["a", " "]), Code::InvalidArgument, Reason::FieldInvalid, Some("documents[1]")),
        (request(QUERY, &many), Code::InvalidArgument, Reason::FieldOutOfRange, Some("documents")),
    ];
    for (request, code, reason, field) in table {
        let refused = refusal(rerank(&mut host, request).await.unwrap_err());
        assert_eq!(refused, (code, reason, field.map(str::to_owned)));
    }
    assert_eq!(rerank(&mut host, named("scorer")).await.unwrap().scores.len(), 1);
}

fn encoder_import<'a>(graph: &'a [u8], tokenizer: &'a [u8], prefix: &str, max_tokens: usize) -> Import<'a> {
    let prefixes = Prefixes { query: prefix.to_owned(), passage: String::new() };
    let kind = ImportKind::Encoder { pooling: Pooling::Cls, prefixes };
    Import { name: "other".parse().unwrap(), graph, tokenizer, kind, max_tokens, origin: "a test".to_owned() }
}

#[tokio::test]
async fn any_encoder_embeds_with_its_own_pooling_and_prefixes() {
    let models = TinyModels::new();
    let bundle = models.registry.open(&tiny()).unwrap();
    let (graph, tokenizer) = (bundle.read(GRAPH_FILE).unwrap(), bundle.read(TOKENIZER_FILE).unwrap());
    let added = import(&models.registry, encoder_import(&graph, &tokenizer, "how ", MAX_TOKENS)).unwrap();
    let other = Encoder::load(&models.registry.open(&added).unwrap(), 1).unwrap();
    assert_eq!(other.spec().dimension, 32);
    let expected = other.embed_all(&["the moon"], |_| ()).unwrap().remove(0);
    let mut host = Host::start_with(models, |options| {
        options.models = BTreeMap::from([("other".to_owned(), ModelOptions::default())]);
        options.query_precision = PrecisionChoice::Fp32;
    })
    .await;
    let mut embed = async |text: &str, priority: proto::EmbedPriority| {
        let model = Some(proto::ModelRef { name: "other".to_owned(), version: String::new() });
        let request = proto::EmbedRequest {
            texts: vec![text.to_owned()],
            model,
            priority: priority.into(),
            ..Default::default()
        };
        host.client.embed(request).await.unwrap().into_inner().embeddings.remove(0).values
    };
    let query = embed("the moon", proto::EmbedPriority::Query).await;
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(near(&query, &expected));
    let passage = embed("the moon", proto::EmbedPriority::Bulk).await;
    assert!(!near(&passage, &query));
    assert!(near(&embed("how the moon", proto::EmbedPriority::Bulk).await, &query));
}

#[test]
fn what_does_not_work_is_not_added() {
    let models = TinyModels::new();
    let bundle = models.registry.open(&tiny()).unwrap();
    let (graph, tokenizer) = (bundle.read(GRAPH_FILE).unwrap(), bundle.read(TOKENIZER_FILE).unwrap());
    // The tiny encoder has 32 positions.
    for (graph, tokenizer, max_tokens) in
        [(&graph[..], &tokenizer[..], 64), (&graph[..100], &tokenizer[..], 24), (&graph[..], &b"{}"[..], 24)]
    {
        import(&models.registry, encoder_import(graph, tokenizer, "", max_tokens)).unwrap_err();
    }
    let scorer = scorer::onnx(vocabulary());
    import(&models.registry, encoder_import(&scorer, &tokenizer, "", 24)).unwrap_err();
    let as_scorer = Import { kind: ImportKind::CrossEncoder, ..encoder_import(&graph, &tokenizer, "", 24) };
    import(&models.registry, as_scorer).unwrap_err();
    assert!(models.registry.versions(&"other".parse().unwrap()).unwrap().is_empty());
}
