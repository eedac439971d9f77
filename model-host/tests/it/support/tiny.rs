//! Random weights in the published layout.

use std::collections::BTreeMap;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::json;
use trivium_model_host::pull::PublishedFiles;

/// The vocabulary, after the four special tokens.
const WORDS: [&str; 20] = [
    "how", "what", "is", "the", "restart", "replica", "error", "code", "hello", "thanks", "cat", "moon", "song",
    "compare", "with", "redis", "cache", "index", "of", "a",
];

const SPECIAL: [&str; 4] = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"];

/// A weight: its shape and its elements in row-major order.
#[derive(Clone)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub data: Vec<f32>,
}

/// A BERT small enough to be computed by hand.
#[derive(Clone)]
pub struct TinyBert {
    pub layers: usize,
    pub heads: usize,
    pub width: usize,
    pub inner: usize,
    pub positions: usize,
    pub tensors: BTreeMap<String, Tensor>,
}

impl TinyBert {
    /// Two layers of 32 with 4 heads; weights from a seeded generator.
    pub fn random(seed: u64) -> Self {
        let mut bert = Self { layers: 2, heads: 4, width: 32, inner: 64, positions: 32, tensors: BTreeMap::new() };
        let mut random = Random(seed);
        let (width, inner) = (bert.width, bert.inner);
        bert.add(&mut random, "embeddings.word_embeddings.weight", &[vocabulary(), width]);
        bert.add(&mut random, "embeddings.position_embeddings.weight", &[bert.positions, width]);
        bert.add(&mut random, "embeddings.token_type_embeddings.weight", &[2, width]);
        bert.add_norm(&mut random, "embeddings.LayerNorm");
        for layer in 0..bert.layers {
            let layer = format!("encoder.layer.{layer}");
            for part in ["self.query", "self.key", "self.value", "output.dense"] {
                bert.add_linear(&mut random, &format!("{layer}.attention.{part}"), width, width);
            }
            bert.add_norm(&mut random, &format!("{layer}.attention.output.LayerNorm"));
            bert.add_linear(&mut random, &format!("{layer}.intermediate.dense"), width, inner);
            bert.add_linear(&mut random, &format!("{layer}.output.dense"), inner, width);
            bert.add_norm(&mut random, &format!("{layer}.output.LayerNorm"));
        }
        bert
    }

    /// The three files that a published encoder comes as.
    pub fn files(&self) -> PublishedFiles {
        PublishedFiles { weights: self.safetensors(""), tokenizer: tokenizer().into_bytes(), config: self.config() }
    }

    /// `model.safetensors`, every name with a prefix.
    pub fn safetensors(&self, prefix: &str) -> Vec<u8> {
        let bytes: Vec<(String, &Tensor, Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, tensor)| {
                (format!("{prefix}{name}"), tensor, tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect())
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, tensor, bytes)| (name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    pub fn config(&self) -> Vec<u8> {
        json!({
            "model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12,
            "hidden_size": self.width, "intermediate_size": self.inner,
            "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "max_position_embeddings": self.positions, "type_vocab_size": 2, "vocab_size": vocabulary(),
        })
        .to_string()
        .into_bytes()
    }

    fn add(&mut self, random: &mut Random, name: &str, shape: &[usize]) {
        let count = shape.iter().product();
        let data = (0..count).map(|_| random.next() * 0.5).collect();
        self.tensors.insert(name.to_owned(), Tensor { shape: shape.to_vec(), data });
    }

    fn add_linear(&mut self, random: &mut Random, name: &str, from: usize, to: usize) {
        self.add(random, &format!("{name}.weight"), &[to, from]);
        self.add(random, &format!("{name}.bias"), &[to]);
    }

    fn add_norm(&mut self, random: &mut Random, name: &str) {
        self.add(random, &format!("{name}.weight"), &[self.width]);
        self.add(random, &format!("{name}.bias"), &[self.width]);
    }
}

fn vocabulary() -> usize {
    SPECIAL.len() + WORDS.len()
}

/// Splits at white space and punctuation, one token for each known word. As in the real
/// encoder's file, truncation and padding are set to what must not be used.
fn tokenizer() -> String {
    let vocabulary: BTreeMap<&str, usize> =
        SPECIAL.iter().chain(&WORDS).enumerate().map(|(id, word)| (*word, id)).collect();
    json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 6}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]},
        "decoder": null,
        "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocabulary},
    })
    .to_string()
}

/// Xorshift (Marsaglia 2003): the same numbers on every machine.
struct Random(u64);

impl Random {
    /// Uniform in -1 to 1.
    fn next(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
