//! The graph of a BERT encoder (Devlin et al. 2018), from embeddings to the last hidden state.
//!
//! The nodes are laid out so that the serving engine's optimiser can fuse them: a matrix
//! product followed by a vector bias, a product scaled by a constant, an addition that
//! feeds a softmax over the last axis, and transposes that feed products.

use std::borrow::Cow;
use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::OnnxError;
use super::graph::{Attribute, Dimension, GraphBuilder, Value};
use super::proto::ModelProto;
use super::quantise::{Quantised, quantise};
use super::read::Weight;
use crate::bundle::Precision;

/// What a masked position adds to its attention score: low enough that its weight is
/// exactly zero after the softmax, and still finite.
const MASKED_SCORE: f32 = -1e9;

/// The part of `config.json` that fixes the graph.
#[derive(Clone, Debug, Deserialize)]
pub struct BertConfig {
    /// `bert` is the only family that is written.
    pub model_type: String,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Heads per layer; divides the width.
    pub num_attention_heads: usize,
    /// Width inside the feed-forward part.
    pub intermediate_size: usize,
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Longest sequence, in tokens.
    pub max_position_embeddings: usize,
    /// Number of segments; only the first is ever used.
    pub type_vocab_size: usize,
    /// Added to the variance in each layer normalisation.
    pub layer_norm_eps: f32,
    /// `gelu` is the only activation that is written.
    pub hidden_act: String,
    /// `absolute` is the only kind that is written.
    #[serde(default = "absolute")]
    pub position_embedding_type: String,
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl BertConfig {
    /// Reads and checks a `config.json`.
    pub fn from_json(json: &[u8]) -> Result<Self, OnnxError> {
        let config: Self = serde_json::from_slice(json)?;
        config.check_text("model_type", &config.model_type, "bert")?;
        config.check_text("hidden_act", &config.hidden_act, "gelu")?;
        config.check_text("position_embedding_type", &config.position_embedding_type, "absolute")?;
        let heads = config.num_attention_heads;
        if heads == 0 || config.hidden_size == 0 || !config.hidden_size.is_multiple_of(heads) {
            return Err(OnnxError::Unsupported {
                field: "num_attention_heads",
                found: heads.to_string(),
                supported: "a divisor of hidden_size",
            });
        }
        Ok(config)
    }

    fn check_text(&self, field: &'static str, found: &str, supported: &'static str) -> Result<(), OnnxError> {
        if found == supported {
            return Ok(());
        }
        Err(OnnxError::Unsupported { field, found: found.to_owned(), supported })
    }
}

/// Builds the whole model. In eight bits, the linear layers are; everything else stays as it is.
pub(super) fn model(weights: Weights<'_>, config: &BertConfig, precision: Precision) -> Result<ModelProto, OnnxError> {
    let mut writer = Writer { weights, config, precision, graph: GraphBuilder::default() };
    let sequence = || [Dimension::Named("batch"), Dimension::Named("sequence")];
    let ids = writer.graph.input("input_ids", &sequence());
    let mask = writer.graph.input("attention_mask", &sequence());
    let mask = writer.mask(&mask);
    let shapes = writer.shapes();
    let mut hidden = writer.embeddings(&ids)?;
    for layer in 0..config.num_hidden_layers {
        let last = layer + 1 == config.num_hidden_layers;
        hidden = writer.layer(layer, last, &hidden, &mask, &shapes)?;
    }
    let shape = [Dimension::Named("batch"), Dimension::Named("sequence"), Dimension::Fixed(config.hidden_size)];
    Ok(writer.graph.finish("bert", &hidden, &shape))
}

/// Reads weights by name, and checks their shapes.
pub(super) enum Weights<'a> {
    /// Those of a published file, whose names may have a prefix.
    Published { tensors: SafeTensors<'a>, prefix: &'static str },
    /// Those that were read back out of a graph.
    Graph(&'a BTreeMap<String, Weight>),
}

impl<'a> Weights<'a> {
    pub(super) fn published(tensors: SafeTensors<'a>) -> Self {
        let prefixed = tensors.names().iter().any(|name| name.starts_with("bert.embeddings."));
        Self::Published { tensors, prefix: if prefixed { "bert." } else { "" } }
    }

    fn read(&self, name: &str, shape: &[usize]) -> Result<Cow<'a, [f32]>, OnnxError> {
        match self {
            Self::Published { tensors, prefix } => {
                let name = format!("{prefix}{name}");
                let tensor = tensors.tensor(&name).map_err(|_| OnnxError::MissingTensor(name.clone()))?;
                if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                    return Err(wrong_tensor(name, shape, format!("{:?} {:?}", tensor.dtype(), tensor.shape())));
                }
                let (elements, _) = tensor.data().as_chunks::<4>();
                Ok(elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }
            Self::Graph(tensors) => {
                let weight = tensors.get(name).ok_or_else(|| OnnxError::MissingTensor(name.to_owned()))?;
                if weight.shape != shape {
                    return Err(wrong_tensor(name.to_owned(), shape, format!("F32 {:?}", weight.shape)));
                }
                Ok(Cow::Borrowed(&weight.data))
            }
        }
    }
}

fn wrong_tensor(name: String, shape: &[usize], found: String) -> OnnxError {
    OnnxError::WrongTensor { name, expected: format!("F32 {shape:?}"), found }
}

/// The two constant shapes between which attention goes back and forth.
struct Shapes {
    split_heads: Value,
    merge_heads: Value,
}

struct Writer<'a> {
    weights: Weights<'a>,
    config: &'a BertConfig,
    precision: Precision,
    graph: GraphBuilder,
}

/// The input of one or more linear layers.
enum Operand<'a> {
    Floats(&'a Value),
    Bytes(Bytes),
}

/// Bytes, what one step of them is worth, and the byte that stands for zero; the last two are
/// found anew for each batch.
struct Bytes {
    values: Value,
    scale: Value,
    zero: Value,
    /// What each token was divided by before; `None` where none was.
    tokens: Option<Value>,
}

/// What a token's values are divided by, at least: those of a token of zeros stay zeros.
const LEAST_MAGNITUDE: f32 = 1e-20;

impl Writer<'_> {
    /// Turns the 0/1 mask into what is added to attention scores: `[batch, 1, 1, sequence]`.
    fn mask(&mut self, mask: &Value) -> Value {
        let graph = &mut self.graph;
        let axes = graph.ints("mask.axes", &[2], &[1, 2]);
        let one = graph.floats("mask.one", &[], &[1.0]);
        let score = graph.floats("mask.score", &[], &[-MASKED_SCORE]);
        let to_float = vec![("to", Attribute::Int(1))];
        let float = graph.node_with("Cast", "mask.float", &[mask], to_float);
        let shifted = graph.node("Sub", "mask.shifted", &[&float, &one]);
        let scaled = graph.node("Mul", "mask.scaled", &[&shifted, &score]);
        graph.node("Unsqueeze", "mask.bias", &[&scaled, &axes])
    }

    fn shapes(&mut self) -> Shapes {
        let heads = self.config.num_attention_heads as i64;
        let width = self.config.hidden_size as i64;
        // A zero in a Reshape keeps the input's size at that place.
        Shapes {
            split_heads: self.graph.ints("shape.split", &[4], &[0, 0, heads, width / heads]),
            merge_heads: self.graph.ints("shape.merge", &[3], &[0, 0, width]),
        }
    }

    /// Word plus position plus segment, normalised: `[batch, sequence, hidden]`.
    fn embeddings(&mut self, ids: &Value) -> Result<Value, OnnxError> {
        let positions = self.position_table()?;
        let (vocabulary, width) = (self.config.vocab_size, self.config.hidden_size);
        let words = self.weights.read("embeddings.word_embeddings.weight", &[vocabulary, width])?;
        let graph = &mut self.graph;
        let words = graph.floats("embeddings.words", &[vocabulary, width], &words);
        let words = graph.node("Gather", "embeddings.word", &[&words, ids]);
        let shape = graph.node("Shape", "embeddings.shape", &[ids]);
        let zero = graph.ints("embeddings.zero", &[1], &[0]);
        let one = graph.ints("embeddings.one", &[1], &[1]);
        let length = graph.node("Gather", "embeddings.length", &[&shape, &one]);
        let slice = [&positions, &zero, &length, &zero];
        let positions = graph.node("Slice", "embeddings.position", &slice);
        let sum = graph.node("Add", "embeddings.sum", &[&words, &positions]);
        self.layer_norm("embeddings.LayerNorm", "embeddings.normalised", &sum)
    }

    /// Positions with the embedding of segment 0 added: queries and passages are always
    /// encoded alone, so that every token belongs to segment 0.
    fn position_table(&mut self) -> Result<Value, OnnxError> {
        let (length, width) = (self.config.max_position_embeddings, self.config.hidden_size);
        let segments = self.config.type_vocab_size;
        let mut positions = self.weights.read("embeddings.position_embeddings.weight", &[length, width])?.into_owned();
        let segments = self.weights.read("embeddings.token_type_embeddings.weight", &[segments, width])?;
        for row in positions.chunks_exact_mut(width) {
            for (position, segment) in row.iter_mut().zip(segments.iter()) {
                *position += segment;
            }
        }
        Ok(self.graph.floats("embeddings.positions", &[length, width], &positions))
    }

    fn layer(
        &mut self,
        layer: usize,
        last: bool,
        hidden: &Value,
        mask: &Value,
        shapes: &Shapes,
    ) -> Result<Value, OnnxError> {
        let from = format!("encoder.layer.{layer}");
        let (width, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let context = self.attention(&from, hidden, mask, shapes)?;
        let name = format!("{from}.attention.output.dense");
        let operand = self.operand(&name, &context);
        let projected = self.linear(&name, &operand, width, width)?;
        let sum_name = format!("{from}.attention.sum");
        let sum = self.graph.node("Add", &sum_name, &[&projected, hidden]);
        let name = format!("{from}.attention.output.LayerNorm");
        let attended = self.layer_norm(&name, &format!("{from}.attended"), &sum)?;
        let name = format!("{from}.intermediate.dense");
        let operand = self.operand_by_token(&name, &attended);
        let expanded = self.linear(&name, &operand, width, inner)?;
        let active = self.graph.node("Gelu", &format!("{from}.gelu"), &[&expanded]);
        let name = format!("{from}.output.dense");
        let operand = self.operand_by_token(&name, &active);
        let reduced = self.linear(&name, &operand, inner, width)?;
        let sum_name = format!("{from}.output.sum");
        let sum = self.graph.node("Add", &sum_name, &[&reduced, &attended]);
        let output = if last { "last_hidden_state".to_owned() } else { format!("{from}.output") };
        self.layer_norm(&format!("{from}.output.LayerNorm"), &output, &sum)
    }

    /// Scaled dot-product attention with several heads (Vaswani et al. 2017, section 3.2).
    fn attention(&mut self, from: &str, hidden: &Value, mask: &Value, shapes: &Shapes) -> Result<Value, OnnxError> {
        let input = self.operand(&format!("{from}.attention.self"), hidden);
        let query = self.heads(from, "query", &[0, 2, 1, 3], &input, shapes)?;
        let keys = self.heads(from, "key", &[0, 2, 3, 1], &input, shapes)?;
        let values = self.heads(from, "value", &[0, 2, 1, 3], &input, shapes)?;
        let head_width = self.config.hidden_size / self.config.num_attention_heads;
        let scale = 1.0 / (head_width as f32).sqrt();
        let name = |part: &str| format!("{from}.attention.{part}");
        let graph = &mut self.graph;
        let scale = graph.floats(&name("scale"), &[], &[scale]);
        let scores = graph.node("MatMul", &name("products"), &[&query, &keys]);
        let scores = graph.node("Mul", &name("scores"), &[&scores, &scale]);
        let scores = graph.node("Add", &name("masked"), &[&scores, mask]);
        let last_axis = vec![("axis", Attribute::Int(-1))];
        let weights = graph.node_with("Softmax", &name("weights"), &[&scores], last_axis);
        let context = graph.node("MatMul", &name("context"), &[&weights, &values]);
        let order = vec![("perm", Attribute::Ints(vec![0, 2, 1, 3]))];
        let context = graph.node_with("Transpose", &name("ordered"), &[&context], order);
        Ok(graph.node("Reshape", &name("merged"), &[&context, &shapes.merge_heads]))
    }

    /// One of the three projections, split into heads and transposed by `order`.
    fn heads(
        &mut self,
        from: &str,
        which: &str,
        order: &[i64],
        input: &Operand<'_>,
        shapes: &Shapes,
    ) -> Result<Value, OnnxError> {
        let width = self.config.hidden_size;
        let name = format!("{from}.attention.self.{which}");
        let projected = self.linear(&name, input, width, width)?;
        let split_name = format!("{name}.split");
        let split = self.graph.node("Reshape", &split_name, &[&projected, &shapes.split_heads]);
        let order = vec![("perm", Attribute::Ints(order.to_vec()))];
        let heads_name = format!("{name}.heads");
        Ok(self.graph.node_with("Transpose", &heads_name, &[&split], order))
    }

    /// The input of linear layers, quantised once for all that read it.
    fn operand<'v>(&mut self, name: &str, input: &'v Value) -> Operand<'v> {
        match self.precision {
            Precision::Fp32 => Operand::Floats(input),
            Precision::Int8 => Operand::Bytes(self.bytes(name, input, None)),
        }
    }

    /// As [`operand`](Self::operand), each token divided by its largest magnitude first. A few tokens have
    /// values many times those of the others around the feed-forward part, and one scale for all would leave
    /// the others a few of its 256 steps.
    fn operand_by_token<'v>(&mut self, name: &str, input: &'v Value) -> Operand<'v> {
        if self.precision == Precision::Fp32 {
            return Operand::Floats(input);
        }
        let graph = &mut self.graph;
        let part = |part: &str| format!("{name}.{part}");
        let magnitudes = graph.node("Abs", &part("magnitudes"), &[input]);
        let axes = graph.ints(&part("axes"), &[1], &[-1]);
        let keep = vec![("keepdims", Attribute::Int(1))];
        let largest = graph.node_with("ReduceMax", &part("largest"), &[&magnitudes, &axes], keep);
        let least = graph.floats(&part("least"), &[], &[LEAST_MAGNITUDE]);
        let tokens = graph.node("Max", &part("tokens"), &[&largest, &least]);
        let even = graph.node("Div", &part("even"), &[input, &tokens]);
        Operand::Bytes(self.bytes(name, &even, Some(tokens)))
    }

    fn bytes(&mut self, name: &str, input: &Value, tokens: Option<Value>) -> Bytes {
        let name = format!("{name}.quantised");
        let parts = ["values", "scale", "zero"];
        let [values, scale, zero] = self.graph.node_of("DynamicQuantizeLinear", &name, &[input], parts);
        Bytes { values, scale, zero, tokens }
    }

    /// `x W^T + b`, with the weight stored transposed, since the product wants `[in, out]`
    /// and the published file has `[out, in]`.
    fn linear(&mut self, name: &str, input: &Operand<'_>, from: usize, to: usize) -> Result<Value, OnnxError> {
        let weight = self.weights.read(&format!("{name}.weight"), &[to, from])?;
        let bias = self.weights.read(&format!("{name}.bias"), &[to])?;
        let bias = self.graph.floats(&format!("{name}.bias"), &[to], &bias);
        let product = match input {
            Operand::Floats(input) => {
                let weight = transposed(&weight, to, from);
                let weight = self.graph.floats(&format!("{name}.weight"), &[from, to], &weight);
                self.graph.node("MatMul", &format!("{name}.product"), &[input, &weight])
            }
            Operand::Bytes(bytes) => self.integer_product(name, bytes, &quantise(&weight, to, from), [from, to]),
        };
        Ok(self.graph.node("Add", &format!("{name}.linear"), &[&product, &bias]))
    }

    /// The product of bytes and quantised weights, scaled back to floats. The engine makes one
    /// operation of the product, the conversion and the scaling, for which it needs the zero
    /// points spelled out and the scales multiplied with each other first.
    fn integer_product(&mut self, name: &str, bytes: &Bytes, weight: &Quantised, [from, to]: [usize; 2]) -> Value {
        let graph = &mut self.graph;
        let weights = graph.bytes(&format!("{name}.weight"), &[from, to], &weight.values);
        let weight_zero = graph.bytes(&format!("{name}.weight.zero"), &[to], &vec![0; to]);
        let weight_scale = graph.floats(&format!("{name}.weight.scale"), &[to], &weight.scales);
        let Bytes { values, scale, zero, tokens } = bytes;
        let product = graph.node("MatMulInteger", &format!("{name}.integers"), &[values, &weights, zero, &weight_zero]);
        let to_float = vec![("to", Attribute::Int(1))];
        let product = graph.node_with("Cast", &format!("{name}.floats"), &[&product], to_float);
        let scales = graph.node("Mul", &format!("{name}.scales"), &[scale, &weight_scale]);
        let product = graph.node("Mul", &format!("{name}.product"), &[&product, &scales]);
        match tokens {
            Some(tokens) => graph.node("Mul", &format!("{name}.restored"), &[&product, tokens]),
            None => product,
        }
    }

    fn layer_norm(&mut self, from: &str, name: &str, input: &Value) -> Result<Value, OnnxError> {
        let width = [self.config.hidden_size];
        let scale = self.weights.read(&format!("{from}.weight"), &width)?;
        let bias = self.weights.read(&format!("{from}.bias"), &width)?;
        let graph = &mut self.graph;
        let scale = graph.floats(&format!("{from}.weight"), &width, &scale);
        let bias = graph.floats(&format!("{from}.bias"), &width, &bias);
        let attributes = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(self.config.layer_norm_eps))];
        let inputs = [input, &scale, &bias];
        Ok(graph.node_with("LayerNormalization", name, &inputs, attributes))
    }
}

pub(super) fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"model_type":"bert","hidden_size":8,"num_hidden_layers":1,
        "num_attention_heads":2,"intermediate_size":16,"vocab_size":5,
        "max_position_embeddings":4,"type_vocab_size":2,"layer_norm_eps":1e-12,"hidden_act":"gelu"}"#;

    #[test]
    fn transposing_swaps_rows_and_columns() {
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }

    #[test]
    fn configurations_outside_the_family_are_named() {
        assert!(BertConfig::from_json(CONFIG.as_bytes()).is_ok());
        for (from, to, field) in [
            (r#""bert""#, r#""roberta""#, "model_type"),
            (r#""gelu""#, r#""relu""#, "hidden_act"),
            (r#"heads":2"#, r#"heads":3"#, "num_attention_heads"),
            (r#"heads":2"#, r#"heads":0"#, "num_attention_heads"),
        ] {
            let error = BertConfig::from_json(CONFIG.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn a_missing_weight_is_named() {
        let empty: Vec<(&str, safetensors::tensor::TensorView<'_>)> = Vec::new();
        let weights = safetensors::serialize(empty, None).unwrap();
        let error = super::super::write_bert(&weights, CONFIG.as_bytes()).unwrap_err();
        assert!(matches!(error, OnnxError::MissingTensor(_)), "{error}");
    }
}
