//! The real base encoder. `make test` pulls it first.

use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde::Deserialize;
use trivium_model_host::bundle::{
    GRAPH_FILE, INT8_GRAPH_FILE, ModelRef, ModelSpec, Precision, PrecisionChoice, Registry, TOKENIZER_FILE,
    default_models_dir,
};
use trivium_model_host::encoder::Encoder;
use trivium_model_host::intent::{FitOptions, Splits, fit, read_examples};
use trivium_model_host::onnx::{BertWeights, Weight, read_bert, write_bert_in};

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

/// Weights as `model.safetensors` and `config.json`.
fn published(weights: &BertWeights) -> (Vec<u8>, Vec<u8>) {
    let bytes: Vec<(&String, &Weight, Vec<u8>)> = weights
        .tensors
        .iter()
        .map(|(name, weight)| (name, weight, weight.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(name, weight, bytes)| (name, TensorView::new(Dtype::F32, weight.shape.clone(), bytes).unwrap()));
    let config = &weights.config;
    let config = serde_json::json!({
        "model_type": config.model_type, "hidden_act": config.hidden_act, "layer_norm_eps": config.layer_norm_eps,
        "hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers, "num_attention_heads": config.num_attention_heads,
        "max_position_embeddings": config.max_position_embeddings, "type_vocab_size": config.type_vocab_size,
        "vocab_size": config.vocab_size,
    });
    (safetensors::serialize(views, None).unwrap(), config.to_string().into_bytes())
}

#[test]
fn eight_bits_stay_close_to_the_published_model() {
    let bundle = registry().open(&ModelRef::new("minilm", "1").unwrap()).unwrap();
    let weights = read_bert(&bundle.read(GRAPH_FILE).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let local = Registry::new(folder.path());
    let mut writer = local.create(ModelRef::new("minilm", "1").unwrap(), "the published weights").unwrap();
    for (file, precision) in [(GRAPH_FILE, Precision::Fp32), (INT8_GRAPH_FILE, Precision::Int8)] {
        let (tensors, config) = published(&weights);
        writer.add(file, &write_bert_in(precision, &tensors, &config).unwrap()).unwrap();
    }
    writer.add(TOKENIZER_FILE, &bundle.read(TOKENIZER_FILE).unwrap()).unwrap();
    let model = writer.finish(ModelSpec::Encoder(bundle.encoder().unwrap().clone())).unwrap();
    let local = local.open(&model).unwrap();
    // An encoder's vectors stay in 32 bits unless told otherwise.
    assert_eq!(Encoder::load(&local, 2).unwrap().precision(), Precision::Fp32);

    let queries = read_examples(Path::new("intents/test.jsonl")).unwrap();
    let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
    let vectors = |choice| Encoder::load_with(&local, choice, 2).unwrap().embed_all(&texts, |_| ()).unwrap();
    let (full, small) = (vectors(PrecisionChoice::Fp32), vectors(PrecisionChoice::Int8));
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    let cosines: Vec<f32> = full.iter().zip(&small).map(|(a, b)| cosine(a, b)).collect();
    let mean = cosines.iter().sum::<f32>() / cosines.len() as f32;
    let lowest = cosines.iter().copied().fold(1.0, f32::min);
    assert!(mean > 0.98 && lowest > 0.95, "mean {mean}, lowest {lowest}");
    // The nearest of the other queries is mostly the same.
    let nearest = |vectors: &[Vec<f32>], own: usize| {
        (0..vectors.len())
            .filter(|other| *other != own)
            .max_by(|&a, &b| cosine(&vectors[own], &vectors[a]).total_cmp(&cosine(&vectors[own], &vectors[b])))
    };
    let same = (0..full.len()).filter(|&own| nearest(&full, own) == nearest(&small, own)).count();
    assert!(same * 10 >= full.len() * 8, "{same} of {}", full.len());
}
