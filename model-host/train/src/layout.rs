//! Where each variable lies in the one slice that holds all of them.
//!
//! Weights, their gradients and the optimiser's two moments are four slices of one layout, in
//! the order of the forward pass, so that frozen variables are a prefix, a checkpoint is a few
//! slices, and query, key and value are one matrix for one product.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::kernels::{Gemm, Rows};
use crate::ops::layer_norm::{self, Normalised};

/// The sizes that fix a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Architecture {
    /// Width of a hidden state.
    pub width: usize,
    /// Width inside the feed-forward part.
    pub inner: usize,
    /// Heads per layer; divides the width.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
    /// Rows of the word table.
    pub words: usize,
    /// Rows of the position table: the longest text, in tokens.
    pub positions: usize,
    /// Labels that the head tells apart.
    pub classes: usize,
    /// Added to the variance in each layer normalisation.
    pub epsilon: f32,
}

/// One variable, for those who go through all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// The name that Hugging Face's `BertModel` gives it; `classifier.weight` and
    /// `classifier.bias` for the head.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its place in the slice of all.
    pub place: Range<usize>,
}

impl Variable {
    /// Whether it belongs to the classification head.
    pub fn is_head(&self) -> bool {
        self.name.starts_with("classifier.")
    }

    /// Whether weight decay pulls at it: matrices of linear layers only. Biases and norms are
    /// exempt as usual, and tables of embeddings so that a row that no text uses stays as it was.
    pub fn decays(&self) -> bool {
        self.shape.len() == 2 && !self.name.starts_with("embeddings.")
    }
}

/// The places of all variables.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) words: Range<usize>,
    pub(crate) positions: Range<usize>,
    pub(crate) embedded: Norm,
    pub(crate) layers: Vec<Layer>,
    pub(crate) head: Linear,
    variables: Vec<Variable>,
}

/// The places of one layer's variables.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Query, key and value, one under the other.
    pub(crate) project: Linear,
    pub(crate) merge: Linear,
    pub(crate) attended: Norm,
    pub(crate) expand: Linear,
    pub(crate) reduce: Linear,
    pub(crate) output: Norm,
}

/// A linear layer, `y = x W^T + b`, with `W` as `[to, from]`.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    weight: Range<usize>,
    bias: Range<usize>,
    from: usize,
    to: usize,
}

/// The weight of a layer normalisation, and its bias right behind it.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    weight: Range<usize>,
    bias: Range<usize>,
}

impl Layout {
    pub(crate) fn new(sizes: &Architecture) -> Self {
        let mut names = Names::default();
        let words = names.add("embeddings.word_embeddings.weight", &[sizes.words, sizes.width]);
        let positions = names.add("embeddings.position_embeddings.weight", &[sizes.positions, sizes.width]);
        let embedded = names.norm("embeddings.LayerNorm", sizes.width);
        let layers = (0..sizes.layers).map(|layer| names.layer(layer, sizes)).collect();
        let head = names.linear("classifier", sizes.width, sizes.classes);
        Self { words, positions, embedded, layers, head, variables: names.variables }
    }

    /// All variables, in order, without gaps.
    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// Floats in all.
    pub(crate) fn len(&self) -> usize {
        self.head.bias.end
    }

    /// Where the variables begin that train when the embeddings and the first `frozen` layers
    /// do not; with 0, everything trains.
    pub(crate) fn first_trained(&self, frozen: usize) -> usize {
        match frozen.checked_sub(1) {
            None => 0,
            Some(last) => self.layers.get(last).map_or(self.head.weight.start, |layer| layer.output.bias.end),
        }
    }
}

impl Linear {
    /// A layer whose weight begins at `place`, with its bias right behind it.
    pub(crate) fn at(place: usize, from: usize, to: usize) -> Self {
        let weight = place..place + from * to;
        Self { bias: weight.end..weight.end + to, weight, from, to }
    }

    /// `out` is `[n, to]`, `x` `[n, from]`.
    pub(crate) fn forward(&self, gemm: &Gemm, weights: &[f32], out: &mut [f32], x: &[f32]) {
        let weight = Rows::new(&weights[self.weight.clone()], self.from);
        gemm.linear(out, Rows::new(x, self.from), weight, &weights[self.bias.clone()]);
    }

    /// Adds the gradients by weight and bias to `gradients`, given the one by the output.
    pub(crate) fn backward(&self, gemm: &Gemm, gradients: &mut [f32], dy: &[f32], x: &[f32]) {
        let rows = Rows::new(dy, self.to);
        gemm.add_weight_gradient(&mut gradients[self.weight.clone()], rows, Rows::new(x, self.from));
        crate::ops::add_column_sums(&mut gradients[self.bias.clone()], dy);
    }

    /// `out = beta out +` the gradient by the input.
    pub(crate) fn input_gradient(&self, gemm: &Gemm, weights: &[f32], out: &mut [f32], dy: &[f32], beta: f32) {
        let weight = Rows::new(&weights[self.weight.clone()], self.from);
        gemm.input_gradient(out, Rows::new(dy, self.to), weight, beta);
    }
}

impl Norm {
    /// Normalises `out` in place.
    pub(crate) fn forward(&self, weights: &[f32], out: &mut [f32], kept: &mut Normalised, epsilon: f32) {
        layer_norm::forward(out, kept, &weights[self.weight.clone()], &weights[self.bias.clone()], epsilon);
    }

    /// Turns the gradient by the output into the one by the input.
    pub(crate) fn backward(&self, weights: &[f32], gradients: &mut [f32], gradient: &mut [f32], kept: &Normalised) {
        let both = &mut gradients[self.weight.start..self.bias.end];
        let (by_weight, by_bias) = both.split_at_mut(self.weight.len());
        layer_norm::backward(gradient, kept, &weights[self.weight.clone()], by_weight, by_bias);
    }
}

/// Lays variables out one after the other.
#[derive(Default)]
struct Names {
    variables: Vec<Variable>,
    next: usize,
}

impl Names {
    fn add(&mut self, name: &str, shape: &[usize]) -> Range<usize> {
        let place = self.next..self.next + shape.iter().product::<usize>();
        self.next = place.end;
        self.variables.push(Variable { name: name.to_owned(), shape: shape.to_vec(), place: place.clone() });
        place
    }

    fn norm(&mut self, name: &str, width: usize) -> Norm {
        let weight = self.add(&format!("{name}.weight"), &[width]);
        Norm { weight, bias: self.add(&format!("{name}.bias"), &[width]) }
    }

    fn linear(&mut self, name: &str, from: usize, to: usize) -> Linear {
        let weight = self.add(&format!("{name}.weight"), &[to, from]);
        Linear { weight, bias: self.add(&format!("{name}.bias"), &[to]), from, to }
    }

    fn layer(&mut self, layer: usize, sizes: &Architecture) -> Layer {
        let (width, inner) = (sizes.width, sizes.inner);
        let name = format!("encoder.layer.{layer}");
        Layer {
            project: self.project(&format!("{name}.attention.self"), width),
            merge: self.linear(&format!("{name}.attention.output.dense"), width, width),
            attended: self.norm(&format!("{name}.attention.output.LayerNorm"), width),
            expand: self.linear(&format!("{name}.intermediate.dense"), width, inner),
            reduce: self.linear(&format!("{name}.output.dense"), inner, width),
            output: self.norm(&format!("{name}.output.LayerNorm"), width),
        }
    }

    /// Three weights and then three biases, so that each kind is one block.
    fn project(&mut self, name: &str, width: usize) -> Linear {
        let parts = ["query", "key", "value"];
        let weights = parts.map(|part| self.add(&format!("{name}.{part}.weight"), &[width, width]));
        let biases = parts.map(|part| self.add(&format!("{name}.{part}.bias"), &[width]));
        let whole = |places: [Range<usize>; 3]| places[0].start..places[2].end;
        Linear { weight: whole(weights), bias: whole(biases), from: width, to: 3 * width }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes() -> Architecture {
        Architecture { width: 4, inner: 8, heads: 2, layers: 2, words: 7, positions: 5, classes: 3, epsilon: 1e-12 }
    }

    #[test]
    fn variables_lie_without_gaps_in_the_order_of_the_forward_pass() {
        let layout = Layout::new(&sizes());
        let mut next = 0;
        for variable in layout.variables() {
            assert_eq!(variable.place.start, next, "{}", variable.name);
            assert_eq!(variable.place.len(), variable.shape.iter().product::<usize>());
            next = variable.place.end;
        }
        assert_eq!(next, layout.len());
        // Tables 2, norm 2, 16 for each layer, head 2.
        assert_eq!(layout.variables().len(), 4 + 2 * 16 + 2);
    }

    #[test]
    fn frozen_variables_are_a_prefix() {
        let layout = Layout::new(&sizes());
        let first = |frozen| {
            let start = layout.first_trained(frozen);
            layout.variables().iter().find(|variable| variable.place.start == start).unwrap().name.clone()
        };
        assert_eq!(first(0), "embeddings.word_embeddings.weight");
        assert_eq!(first(1), "encoder.layer.1.attention.self.query.weight");
        assert_eq!(first(2), "classifier.weight");
        assert_eq!(first(9), "classifier.weight");
    }

    #[test]
    fn decay_pulls_at_matrices_of_linear_layers_only() {
        let layout = Layout::new(&sizes());
        let decays = |name: &str| layout.variables().iter().find(|variable| variable.name == name).unwrap().decays();
        assert!(decays("classifier.weight") && decays("encoder.layer.1.output.dense.weight"));
        for name in ["embeddings.word_embeddings.weight", "encoder.layer.0.output.LayerNorm.weight", "classifier.bias"]
        {
            assert!(!decays(name), "{name}");
        }
    }
}
