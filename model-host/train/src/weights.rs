//! Between a published encoder's tensors and the one slice that training works on.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use trivium_model_host::onnx::{BertConfig, BertWeights, Weight};
use trivium_ranking::random::SplitMix64;

use crate::layout::{Architecture, Layout, Variable};

/// Deviation of the head's first weights, as in BERT.
const HEAD_DEVIATION: f64 = 0.02;
/// Keeps the head's first weights apart from all else that the seed decides.
const PURPOSE: u64 = 0x6865_6164;

const WORDS: &str = "embeddings.word_embeddings.weight";
const POSITIONS: &str = "embeddings.position_embeddings.weight";

/// The words that occur in the data. Only their rows are trained and kept in checkpoints: the
/// gradient of any other row is zero, and the whole table is half of all weights.
#[derive(Clone, Debug)]
pub(crate) struct Vocabulary {
    ids: Vec<u32>,
}

impl Vocabulary {
    /// The words of all `texts`.
    pub(crate) fn of<'a>(texts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let ids: BTreeSet<u32> = texts.into_iter().flatten().copied().collect();
        Self { ids: ids.into_iter().collect() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// A text's tokens as rows of the table of these words; `None` if it has another word.
    pub(crate) fn rows(&self, text: &[u32]) -> Option<Vec<u32>> {
        text.iter().map(|id| self.ids.binary_search(id).ok().map(|row| row as u32)).collect()
    }
}

/// An encoder that is about to be trained.
pub(crate) struct Base {
    weights: BertWeights,
}

impl Base {
    pub(crate) fn new(weights: BertWeights) -> Self {
        Self { weights }
    }

    pub(crate) fn config(&self) -> &BertConfig {
        &self.weights.config
    }

    /// The network for texts of up to `positions` tokens of `vocabulary`, with a head of
    /// `classes` rows.
    pub(crate) fn architecture(&self, vocabulary: &Vocabulary, positions: usize, classes: usize) -> Architecture {
        let config = self.config();
        Architecture {
            width: config.hidden_size,
            inner: config.intermediate_size,
            heads: config.num_attention_heads,
            layers: config.num_hidden_layers,
            words: vocabulary.len(),
            positions,
            classes,
            epsilon: config.layer_norm_eps,
        }
    }

    /// The encoder's weights and a random head in one slice. `None` if a word is not in the
    /// encoder's table, or the tensors are not those of the layout.
    pub(crate) fn flat(&self, layout: &Layout, vocabulary: &Vocabulary, seed: u64) -> Option<Vec<f32>> {
        let mut random = SplitMix64::keyed(&[seed, PURPOSE]);
        let mut flat = Vec::with_capacity(layout.len());
        for variable in layout.variables() {
            let count = variable.place.len();
            match variable.name.as_str() {
                "classifier.weight" => flat.extend((0..count).map(|_| (random.normal() * HEAD_DEVIATION) as f32)),
                "classifier.bias" => flat.resize(flat.len() + count, 0.0),
                WORDS => {
                    let width = self.config().hidden_size;
                    let table = self.tensor(WORDS)?;
                    for &id in &vocabulary.ids {
                        flat.extend_from_slice(table.data.get(id as usize * width..)?.get(..width)?);
                    }
                }
                name => flat.extend_from_slice(self.tensor(name)?.data.get(..count)?),
            }
        }
        (flat.len() == layout.len()).then_some(flat)
    }

    /// The trained encoder as a safetensors file, the head left out. Rows of words and positions
    /// that were not trained are as they were.
    pub(crate) fn safetensors(
        &self,
        layout: &Layout,
        vocabulary: &Vocabulary,
        flat: &[f32],
    ) -> Result<Vec<u8>, safetensors::SafeTensorError> {
        let mut tensors = self.weights.tensors.clone();
        for variable in layout.variables().iter().filter(|variable| !variable.is_head()) {
            if let Some(tensor) = tensors.get_mut(&variable.name) {
                overwrite(tensor, variable, vocabulary, &flat[variable.place.clone()]);
            }
        }
        serialize(&tensors)
    }

    /// The `config.json` of the trained encoder.
    pub(crate) fn config_json(&self) -> Vec<u8> {
        let config = self.config();
        let json = serde_json::json!({
            "model_type": config.model_type,
            "hidden_act": config.hidden_act,
            "hidden_size": config.hidden_size,
            "intermediate_size": config.intermediate_size,
            "layer_norm_eps": config.layer_norm_eps,
            "max_position_embeddings": config.max_position_embeddings,
            "num_attention_heads": config.num_attention_heads,
            "num_hidden_layers": config.num_hidden_layers,
            "position_embedding_type": config.position_embedding_type,
            "type_vocab_size": config.type_vocab_size,
            "vocab_size": config.vocab_size,
        });
        json.to_string().into_bytes()
    }

    fn tensor(&self, name: &str) -> Option<&Weight> {
        self.weights.tensors.get(name)
    }
}

fn overwrite(tensor: &mut Weight, variable: &Variable, vocabulary: &Vocabulary, trained: &[f32]) {
    match variable.name.as_str() {
        WORDS => {
            let width = variable.shape[1];
            for (&id, row) in vocabulary.ids.iter().zip(trained.chunks_exact(width)) {
                tensor.data[id as usize * width..][..width].copy_from_slice(row);
            }
        }
        POSITIONS => tensor.data[..trained.len()].copy_from_slice(trained),
        _ => tensor.data.copy_from_slice(trained),
    }
}

fn serialize(tensors: &BTreeMap<String, Weight>) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let bytes: Vec<(&String, &Weight, Vec<u8>)> = tensors
        .iter()
        .map(|(name, tensor)| (name, tensor, tensor.data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = bytes
        .iter()
        .map(|(name, tensor, bytes)| Ok((*name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    safetensors::serialize(views, None)
}
