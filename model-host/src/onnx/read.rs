//! Reads an encoder's weights back out of a graph that [`write_bert`](super::write_bert) made:
//! a bundle holds no other copy of them, and fine-tuning starts from them.

use std::collections::BTreeMap;

use prost::Message;

use super::BertConfig;
use super::proto::{FLOAT, GraphProto, INT64, ModelProto, TensorProto};

/// An encoder's weights, by the names of Hugging Face's `BertModel`.
///
/// The segment table is a single row of zeros: the graph has segment 0 added to its positions,
/// and so have these weights.
#[derive(Clone, Debug)]
pub struct BertWeights {
    /// The sizes.
    pub config: BertConfig,
    /// The tensors, with matrices of linear layers as `[out, in]`.
    pub tensors: BTreeMap<String, Weight>,
}

/// One tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, in row-major order.
    pub data: Vec<f32>,
}

/// Why a graph's weights cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file is not ONNX.
    #[error("the graph cannot be read: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// The graph lacks something that every graph written here has, or has it in eight bits.
    #[error("the graph has no usable {0}: only graphs in 32-bit floats that were written here can be trained")]
    Missing(String),
}

/// Reads the weights and sizes of a graph in 32-bit floats.
///
/// # Errors
/// When the file is not ONNX, or was not written by [`write_bert`](super::write_bert).
pub fn read_bert(onnx: &[u8]) -> Result<BertWeights, ReadError> {
    let graph = ModelProto::decode(onnx)?.graph.unwrap_or_default();
    let epsilon = epsilon(&graph)?;
    let constants: BTreeMap<&str, &TensorProto> =
        graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let reader = Reader { constants };
    let config = reader.config(epsilon)?;
    Ok(BertWeights { tensors: reader.tensors(&config)?, config })
}

/// The first normalisation's; all have the same.
fn epsilon(graph: &GraphProto) -> Result<f32, ReadError> {
    let mut attributes =
        graph.node.iter().filter(|node| node.op_type == "LayerNormalization").flat_map(|n| &n.attribute);
    let epsilon = attributes.find(|attribute| attribute.name == "epsilon").and_then(|attribute| attribute.f);
    epsilon.ok_or_else(|| missing("epsilon"))
}

fn missing(what: &str) -> ReadError {
    ReadError::Missing(what.to_owned())
}

struct Reader<'a> {
    constants: BTreeMap<&'a str, &'a TensorProto>,
}

impl Reader<'_> {
    fn config(&self, epsilon: f32) -> Result<BertConfig, ReadError> {
        let [words, width] = self.matrix_shape("embeddings.words")?;
        let [positions, _] = self.matrix_shape("embeddings.positions")?;
        let [_, inner] = self.matrix_shape("encoder.layer.0.intermediate.dense.weight")?;
        let layers = (0..).take_while(|layer| self.constants.contains_key(output_norm(*layer).as_str())).count();
        Ok(BertConfig {
            model_type: "bert".to_owned(),
            hidden_size: width,
            num_hidden_layers: layers,
            num_attention_heads: self.heads(width)?,
            intermediate_size: inner,
            vocab_size: words,
            max_position_embeddings: positions,
            type_vocab_size: 1,
            layer_norm_eps: epsilon,
            hidden_act: "gelu".to_owned(),
            position_embedding_type: "absolute".to_owned(),
        })
    }

    /// The heads, by the shape into which attention splits the width.
    fn heads(&self, width: usize) -> Result<usize, ReadError> {
        let shape = self.constants.get("shape.split").filter(|tensor| tensor.data_type == INT64);
        let (sizes, _) = shape.ok_or_else(|| missing("shape.split"))?.raw_data.as_chunks::<8>();
        let heads = sizes.get(2).and_then(|bytes| usize::try_from(i64::from_le_bytes(*bytes)).ok());
        heads.filter(|&heads| heads > 0 && width.is_multiple_of(heads)).ok_or_else(|| missing("shape.split"))
    }

    fn tensors(&self, config: &BertConfig) -> Result<BTreeMap<String, Weight>, ReadError> {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let mut all = Found { reader: self, tensors: BTreeMap::new() };
        all.table("embeddings.word_embeddings.weight", "embeddings.words", config.vocab_size, width)?;
        all.table(
            "embeddings.position_embeddings.weight",
            "embeddings.positions",
            config.max_position_embeddings,
            width,
        )?;
        let segments = Weight { shape: vec![1, width], data: vec![0.0; width] };
        all.tensors.insert("embeddings.token_type_embeddings.weight".to_owned(), segments);
        all.norm("embeddings.LayerNorm", width)?;
        for layer in 0..config.num_hidden_layers {
            let layer = format!("encoder.layer.{layer}");
            for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
            {
                all.linear(&format!("{layer}.{part}"), width, width)?;
            }
            all.norm(&format!("{layer}.attention.output.LayerNorm"), width)?;
            all.linear(&format!("{layer}.intermediate.dense"), width, inner)?;
            all.linear(&format!("{layer}.output.dense"), inner, width)?;
            all.norm(&format!("{layer}.output.LayerNorm"), width)?;
        }
        Ok(all.tensors)
    }

    fn matrix_shape(&self, name: &str) -> Result<[usize; 2], ReadError> {
        let dims = self.constants.get(name).map(|tensor| tensor.dims.as_slice());
        match dims {
            Some(&[rows, columns]) if rows > 0 && columns > 0 => Ok([rows as usize, columns as usize]),
            _ => Err(missing(name)),
        }
    }

    fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ReadError> {
        let fits = |tensor: &&&TensorProto| {
            tensor.data_type == FLOAT
                && tensor.dims.iter().map(|&size| size as usize).eq(shape.iter().copied())
                && tensor.raw_data.len() / 4 == shape.iter().product::<usize>()
        };
        let tensor = self.constants.get(name).filter(fits).ok_or_else(|| missing(name))?;
        let (elements, _) = tensor.raw_data.as_chunks::<4>();
        Ok(elements.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

/// Tensors read so far.
struct Found<'a> {
    reader: &'a Reader<'a>,
    tensors: BTreeMap<String, Weight>,
}

impl Found<'_> {
    fn table(&mut self, name: &str, constant: &str, rows: usize, width: usize) -> Result<(), ReadError> {
        let shape = vec![rows, width];
        let data = self.reader.floats(constant, &shape)?;
        self.tensors.insert(name.to_owned(), Weight { shape, data });
        Ok(())
    }

    fn norm(&mut self, name: &str, width: usize) -> Result<(), ReadError> {
        self.vector(&format!("{name}.weight"), width)?;
        self.vector(&format!("{name}.bias"), width)
    }

    /// The graph has the weight as `[in, out]`.
    fn linear(&mut self, name: &str, from: usize, to: usize) -> Result<(), ReadError> {
        let name_of_weight = format!("{name}.weight");
        let stored = self.reader.floats(&name_of_weight, &[from, to])?;
        let data = super::bert::transposed(&stored, from, to);
        self.tensors.insert(name_of_weight, Weight { shape: vec![to, from], data });
        self.vector(&format!("{name}.bias"), to)
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<(), ReadError> {
        let data = self.reader.floats(name, &[length])?;
        self.tensors.insert(name.to_owned(), Weight { shape: vec![length], data });
        Ok(())
    }
}

fn output_norm(layer: usize) -> String {
    format!("encoder.layer.{layer}.output.LayerNorm.weight")
}
