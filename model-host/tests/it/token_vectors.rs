//! Token vectors: fitting a projection, and asking for vectors by it.

use std::fs;
use std::sync::Arc;

use tonic::Code;
use trivium_model_host::bundle::{BundleError, ModelRef, PROJECTION_FILE};
use trivium_model_host::projection::{FitOptions, Projection, ProjectionError, ProjectionLoadError, fit};
use trivium_model_host::{ModelOptions, Options};
use trivium_proto::model::v1 as proto;
use trivium_service_kit::Reason;

use crate::support::TinyModels;
use crate::support::host::{Host, analyze, refusal};

const DIMENSION: usize = 4;

fn options(dimension: usize) -> FitOptions<'static> {
    FitOptions { dimension, texts: None }
}

/// The tiny encoder with two versions of a projection, the first of which serves.
fn projected() -> TinyModels {
    let models = TinyModels::new();
    for dimension in [DIMENSION, DIMENSION + 1] {
        fit(&models.registry, &models.encoder(), &options(dimension), |_| ()).unwrap();
    }
    models
}

fn version(version: &str) -> ModelRef {
    ModelRef::new("tiny-tokens", version).unwrap()
}

fn load(models: &TinyModels, wanted: &str) -> Result<Arc<Projection>, ProjectionLoadError> {
    Projection::load(&models.registry.open(&version(wanted)).unwrap())
}

fn embed(texts: &[&str], projection: Option<&str>) -> proto::EmbedRequest {
    let projection =
        projection.map(|version| proto::ModelRef { name: "tiny-tokens".to_owned(), version: version.to_owned() });
    proto::EmbedRequest {
        texts: texts.iter().map(|text| (*text).to_owned()).collect(),
        token_vectors: Some(proto::TokenVectorsRequest { projection }),
        ..proto::EmbedRequest::default()
    }
}

#[test]
fn the_same_encoder_gives_the_same_projection_and_each_fit_is_a_version() {
    let models = projected();
    let (one, two) = (load(&models, "1").unwrap(), load(&models, "2").unwrap());
    assert_eq!((one.dimension(), two.dimension()), (DIMENSION, DIMENSION + 1));
    assert_eq!(one.base(), models.encoder().model());
    assert_eq!(models.registry.production(&version("1").name).unwrap(), version("1"));
    fit(&models.registry, &models.encoder(), &options(DIMENSION), |_| ()).unwrap();
    let file = |wanted: &str| models.registry.open(&version(wanted)).unwrap().read(PROJECTION_FILE).unwrap();
    assert_eq!(file("1"), file("3"));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let models = TinyModels::new();
    let encoder = models.encoder();
    for dimension in [0, encoder.spec().dimension + 1] {
        let refused = fit(&models.registry, &encoder, &options(dimension), |_| ());
        assert!(matches!(refused, Err(ProjectionError::Dimension { found, .. }) if found == dimension));
    }
    let few = ["a".to_owned()];
    let refused = fit(&models.registry, &encoder, &FitOptions { dimension: 2, texts: Some((&few, "few.txt")) }, |_| ());
    assert!(matches!(refused, Err(ProjectionError::TooFewTokens { .. })));
    assert!(models.registry.versions(&version("1").name).unwrap().is_empty());
}

#[test]
fn a_truncated_file_is_named() {
    let models = projected();
    let path = models.folder.path().join("tiny-tokens/1").join(PROJECTION_FILE);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let refused = load(&models, "1");
    assert!(matches!(refused, Err(ProjectionLoadError::Bundle(BundleError::WrongSize { .. }))));
}

#[tokio::test]
async fn token_vectors_come_with_the_vector_and_leave_special_tokens_out() {
    let both = ModelOptions { versions: vec!["2".to_owned()], ..ModelOptions::default() };
    let with_both = |options: &mut Options| drop(options.models.insert("tiny-tokens".to_owned(), both));
    let mut host = Host::start_with(projected(), with_both).await;
    let texts = ["the moon", "the moon moon moon and a dog"];
    let plain = proto::EmbedRequest { token_vectors: None, ..embed(&texts, None) };
    let plain = host.client.embed(plain).await.unwrap().into_inner();
    let with_tokens = host.client.embed(embed(&texts, None)).await.unwrap().into_inner();
    let named = host.client.embed(embed(&texts, Some("2"))).await.unwrap().into_inner();
    for place in 0..texts.len() {
        assert_eq!(plain.embeddings[place].token_vectors, None);
        let (embedding, other) = (&with_tokens.embeddings[place], &named.embeddings[place]);
        assert_eq!(embedding.values, plain.embeddings[place].values);
        let tokens = embedding.token_vectors.as_ref().unwrap();
        assert_eq!(tokens.projection.as_ref().unwrap().version, "1");
        assert_eq!(tokens.values.len(), (embedding.tokens as usize - 2) * DIMENSION);
        assert_eq!(other.token_vectors.as_ref().unwrap().dimension as usize, DIMENSION + 1);
    }
}

#[tokio::test]
async fn an_analysis_gives_the_token_vectors_that_embedding_gives_and_remembers_them_apart() {
    let mut host = Host::start_with(projected(), |_| ()).await;
    // As a query, which may be encoded in fewer bits than a passage.
    let query = proto::EmbedRequest { priority: proto::EmbedPriority::Query.into(), ..embed(&["the moon"], None) };
    let embedded = host.client.embed(query).await.unwrap().into_inner();
    let wish = proto::AnalyzeRequest { token_vectors: true, ..analyze("the moon", false, true) };
    let plain = host.client.analyze(analyze("the moon", false, true)).await.unwrap().into_inner();
    assert_eq!(plain.vectors[0].token_vectors, None);
    let analysed = host.client.analyze(wish.clone()).await.unwrap().into_inner();
    assert!(!analysed.cached, "an analysis without token vectors is another one");
    let (one, other) = (analysed.vectors[0].token_vectors.as_ref(), embedded.embeddings[0].token_vectors.as_ref());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((&one.projection, one.values.len()), (&other.projection, other.values.len()));
    // One core sums in another order than several, which may move a number to its neighbour.
    let near = |(a, b): (&u8, &u8)| a.cast_signed().abs_diff(b.cast_signed()) <= 1;
    assert!(one.values.iter().zip(&other.values).all(near));
    assert!(host.client.analyze(wish).await.unwrap().into_inner().cached);
}

#[tokio::test]
async fn a_promoted_projection_serves_and_the_one_before_still_answers_by_name() {
    let mut host = Host::start_with(projected(), |_| ()).await;
    let model = Some(proto::ModelRef { name: "tiny-tokens".to_owned(), version: "2".to_owned() });
    host.client.promote_model(proto::PromoteModelRequest { model }).await.unwrap();
    let tokenizer = host.client.get_tokenizer(proto::GetTokenizerRequest::default()).await.unwrap().into_inner();
    assert_eq!(
        (tokenizer.projection.unwrap().version.as_str(), tokenizer.token_dimension),
        ("2", DIMENSION as u32 + 1)
    );
    for wanted in ["1", "2"] {
        let answer = host.client.embed(embed(&["the moon"], Some(wanted))).await.unwrap().into_inner();
        let tokens = answer.embeddings[0].token_vectors.as_ref().unwrap();
        assert_eq!(tokens.projection.as_ref().unwrap().version, wanted);
    }
}

#[tokio::test]
async fn a_host_without_a_projection_says_so_where_token_vectors_must_be_had() {
    let mut host = Host::start_with(TinyModels::new(), |_| ()).await;
    let refused = refusal(host.client.embed(embed(&["a"], None)).await.unwrap_err());
    assert_eq!((refused.0, refused.1), (Code::FailedPrecondition, Reason::NoModel));
    let refused = refusal(host.client.embed(embed(&["a"], Some("7"))).await.unwrap_err());
    assert_eq!((refused.0, refused.1), (Code::NotFound, Reason::ModelNotFound));
    let wish = proto::AnalyzeRequest { token_vectors: true, ..analyze("a", false, true) };
    let analysed = host.client.analyze(wish).await.unwrap().into_inner();
    assert_eq!(analysed.vectors[0].token_vectors, None);
    let tokenizer = host.client.get_tokenizer(proto::GetTokenizerRequest::default()).await.unwrap().into_inner();
    assert_eq!((tokenizer.projection, tokenizer.token_dimension), (None, 0));
}

#[tokio::test]
async fn a_damaged_projection_fails_its_own_calls_alone() {
    let models = projected();
    let path = models.folder.path().join("tiny-tokens/1").join(PROJECTION_FILE);
    fs::write(&path, b"short").unwrap();
    let mut host = Host::start_with(models, |_| ()).await;
    let refused = refusal(host.client.embed(embed(&["a"], None)).await.unwrap_err());
    assert_eq!(refused.1, Reason::ModelDamaged);
    let plain = proto::EmbedRequest { token_vectors: None, ..embed(&["a"], None) };
    assert!(host.client.embed(plain).await.is_ok());
}
