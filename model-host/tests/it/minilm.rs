//! The real base encoder. `make test` pulls it first.

use std::path::Path;

use serde::Deserialize;
use trivium_model_host::bundle::{ModelRef, Registry, default_models_dir};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{FitOptions, Splits, fit, read_examples};

/// Vectors of the published model, made by its own Python package.
#[derive(Deserialize)]
struct Reference {
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    tokens_before_truncation: usize,
    vector: Vec<f32>,
}

fn registry() -> Registry {
    Registry::new(default_models_dir())
}

fn encoder() -> Encoder {
    let bundle = registry().open(&ModelRef::new("minilm", "1").unwrap()).unwrap_or_else(|error| {
        panic!("{error}; run `trivium models pull minilm`, or `make test`, which does so");
    });
    Encoder::load(&bundle, 2).unwrap()
}

#[test]
fn vectors_are_those_of_the_published_model() {
    let path = Path::new("tests/fixtures/minilm_reference.json");
    let reference: Reference = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let encoder = encoder();
    assert_eq!(reference.sentences.len(), 10);
    // Together, so that padding is in play as well.
    let texts: Vec<&str> = reference.sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    let vectors = encoder.embed_all(&texts, |_| ()).unwrap();
    for (sentence, vector) in reference.sentences.iter().zip(&vectors) {
        let cosine: f32 = sentence.vector.iter().zip(vector).map(|(a, b)| a * b).sum();
        assert!(cosine >= 0.9999, "{cosine} for {:.60}", sentence.text);
        let tokens = encoder.tokenizer().encode(&sentence.text).unwrap();
        assert_eq!(tokens.truncated, sentence.tokens_before_truncation > 256);
        assert_eq!(tokens.ids.len(), sentence.tokens_before_truncation.min(256));
    }
}

#[test]
fn the_projects_labelled_queries_make_a_good_intent_model() {
    let folder = Path::new("intents");
    let read = |name: &str| read_examples(&folder.join(name)).unwrap();
    let (train, valid, test) = (read("train.jsonl"), read("valid.jsonl"), read("test.jsonl"));
    assert!(train.len() + valid.len() + test.len() >= 600);
    // The fitted model goes into a folder of its own; only its encoder is the user's.
    let models = tempfile::tempdir().unwrap();
    let splits = Splits { train: &train, valid: Some(&valid), test: Some(&test) };
    let options = FitOptions::named("intents".parse().unwrap());
    let fitted = fit(&Registry::new(models.path()), &encoder(), splits, &options, |_| ()).unwrap();
    assert!(fitted.report.accuracy >= 0.85, "{:?}", fitted.report);
    assert!(fitted.report.ece <= 0.1, "{:?}", fitted.report);
}
