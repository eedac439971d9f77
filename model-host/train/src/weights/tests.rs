//! What is trained is what serves: the trainer's forward pass beside the serving engine's.

use trivium_model_host::bundle::{GRAPH_FILE, ModelRef, Registry, TOKENIZER_FILE, default_models_dir};
use trivium_model_host::engine::{Engine, HiddenStates, RtenEngine, TokenBatch};
use trivium_model_host::onnx::{read_bert, write_bert};
use trivium_model_host::tokenize::Tokenizer;
use trivium_ranking::random::SplitMix64;

use super::{Base, Vocabulary};
use crate::network::{Network, Ragged, Work};
use crate::ops::dropout::Dropout;
use crate::testing::{floats, tiny};

const CLASSES: usize = 20;

/// Trains nothing, but moves every weight by up to a hundredth of the largest of its variable,
/// as if it had: an export that mixes variables up cannot go unnoticed.
fn moved(network: &Network, flat: &mut [f32]) {
    for (number, variable) in network.layout().variables().iter().enumerate() {
        let values = &mut flat[variable.place.clone()];
        let most = values.iter().fold(0.01f32, |most, x| most.max(x.abs()));
        for (x, noise) in values.iter_mut().zip(floats(variable.place.len(), number as u64)) {
            *x += 0.01 * most * noise;
        }
    }
}

fn mean(hidden: &HiddenStates, row: usize, length: usize) -> Vec<f32> {
    let rows = hidden.row(row).chunks(hidden.width).take(length);
    let sum = rows.fold(vec![0.0; hidden.width], |sum, row| sum.iter().zip(row).map(|(a, b)| a + b).collect());
    sum.iter().map(|x: &f32| x / length as f32).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn first(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap()
}

/// Compares both on `texts`, given an encoder's graph.
fn agree(graph: &[u8], texts: &[Vec<u32>]) {
    let base = Base::new(read_bert(graph).unwrap());
    let vocabulary = Vocabulary::of(texts.iter().map(Vec::as_slice));
    let positions = texts.iter().map(Vec::len).max().unwrap();
    let network = Network::new(base.architecture(&vocabulary, positions, CLASSES));
    let mut flat = base.flat(network.layout(), &vocabulary, 1).unwrap();
    moved(&network, &mut flat);
    let weights = base.safetensors(network.layout(), &vocabulary, &flat).unwrap();
    let exported = write_bert(&weights, &base.config_json()).unwrap();
    let width = base.config().hidden_size;
    let engine = RtenEngine::load(exported, width, 1).unwrap();
    let head = &flat[flat.len() - CLASSES * (width + 1)..];
    let mut work = Work::default();
    for texts in texts.chunks(16) {
        let rows: Vec<Vec<u32>> = texts.iter().map(|text| vocabulary.rows(text).unwrap()).collect();
        network.forward(&flat, &Ragged::new(rows.iter().map(Vec::as_slice)), Dropout::OFF, &mut work);
        let hidden = engine.forward(&TokenBatch::new(texts.iter().map(Vec::as_slice))).unwrap();
        let pooled = work.pooled.clone();
        for (row, (text, (pooled, logits))) in
            texts.iter().zip(pooled.chunks(width).zip(work.logits().chunks(CLASSES))).enumerate()
        {
            let served = mean(&hidden, row, text.len());
            let agreement = cosine(&served, pooled);
            assert!(agreement >= 0.9999, "{agreement} for {text:?}");
            let (weights, biases) = head.split_at(CLASSES * width);
            let scores: Vec<f32> = weights
                .chunks(width)
                .zip(biases)
                .map(|(weights, bias)| bias + weights.iter().zip(&served).map(|(w, x)| w * x).sum::<f32>())
                .collect();
            assert_eq!(first(&scores), first(logits), "{text:?}");
        }
    }
}

#[test]
fn a_tiny_encoder_serves_as_it_was_trained() {
    let bert = tiny::TinyBert::random(5);
    let graph = write_bert(&bert.safetensors(""), &bert.config()).unwrap();
    let mut random = SplitMix64::keyed(&[8]);
    let texts: Vec<Vec<u32>> =
        (0..1000).map(|_| (0..random.below(20) + 1).map(|_| random.below(24) as u32).collect()).collect();
    agree(&graph, &texts);
}

#[test]
fn the_base_encoder_serves_as_it_was_trained() {
    let bundle = Registry::new(default_models_dir()).open(&ModelRef::new("minilm", "1").unwrap());
    let bundle = bundle.unwrap_or_else(|error| panic!("{error}; `make test` fetches the encoder first"));
    let tokenizer = Tokenizer::from_json(&bundle.read(TOKENIZER_FILE).unwrap(), 256).unwrap();
    let queries = "../intents/";
    let texts: Vec<Vec<u32>> = ["train.jsonl", "valid.jsonl"]
        .iter()
        .flat_map(|file| {
            trivium_model_host::intent::read_examples(std::path::Path::new(&format!("{queries}{file}"))).unwrap()
        })
        .take(1000)
        .map(|example| tokenizer.encode(&example.text).unwrap().ids)
        .collect();
    assert_eq!(texts.len(), 1000);
    agree(&bundle.read(GRAPH_FILE).unwrap(), &texts);
}
