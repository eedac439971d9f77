//! The backward pass: from the gradient by the logits to those by all variables.

use super::work::{LayerWork, Slopes, sized};
use super::{Network, Ragged, Work, site};
use crate::layout::Layer;
use crate::ops::dropout::Dropout;
use crate::ops::{activation, attention, embedding, pooling};

/// How far down the backward pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Depth {
    /// Layers whose variables do not train; with 0, the embeddings train too.
    frozen: usize,
}

impl Network {
    /// Adds the gradients of all variables that train to `gradients`. `work` is as the forward
    /// pass with the same `weights`, `batch` and `dropout` left it, but for the logits, which now
    /// hold the gradient by them. Its kept values are used up.
    ///
    /// The embeddings and the first `frozen` layers get none; with 0, everything does.
    pub(crate) fn backward(
        &self,
        weights: &[f32],
        batch: &Ragged,
        dropout: Dropout,
        frozen: usize,
        work: &mut Work,
        gradients: &mut [f32],
    ) {
        self.head_backward(weights, batch, dropout, work, gradients);
        if frozen >= self.sizes.layers && frozen > 0 {
            return;
        }
        let depth = Depth { frozen };
        let Work { embedded, layers, slopes, .. } = work;
        for (number, layer) in self.layout.layers.iter().enumerate().skip(frozen).rev() {
            let (below, kept) = layers.split_at_mut(number);
            let input = below.last().map_or(&*embedded, |below| &below.output);
            let Some(kept) = kept.first_mut() else { continue };
            let pass = LayerPass { network: self, weights, batch, dropout, number, layer, input, depth };
            pass.run(kept, slopes, gradients);
        }
        if frozen == 0 {
            self.embed_backward(weights, batch, dropout, work, gradients);
        }
    }

    fn head_backward(&self, weights: &[f32], batch: &Ragged, dropout: Dropout, work: &mut Work, gradients: &mut [f32]) {
        let (width, head) = (self.sizes.width, &self.layout.head);
        head.backward(&self.gemm, gradients, &work.logits, &work.pooled);
        let pooled = sized(&mut work.slopes.pooled, work.pooled.len());
        head.input_gradient(&self.gemm, weights, pooled, &work.logits, 0.0);
        dropout.at(site::POOLED).apply(pooled, width);
        let hidden = sized(&mut work.slopes.hidden, batch.tokens.len() * width);
        pooling::backward(hidden, pooled, &batch.lengths, width);
    }

    fn embed_backward(
        &self,
        weights: &[f32],
        batch: &Ragged,
        dropout: Dropout,
        work: &mut Work,
        gradients: &mut [f32],
    ) {
        let width = self.sizes.width;
        let hidden = &mut work.slopes.hidden;
        dropout.at(site::EMBEDDED).apply(hidden, width);
        self.layout.embedded.backward(weights, gradients, hidden, &work.embedded_kept);
        embedding::scatter_add(&mut gradients[self.layout.words.clone()], &batch.tokens, hidden, width);
        embedding::scatter_add(&mut gradients[self.layout.positions.clone()], &batch.positions, hidden, width);
    }
}

/// The backward pass of one layer.
struct LayerPass<'a> {
    network: &'a Network,
    weights: &'a [f32],
    batch: &'a Ragged,
    dropout: Dropout,
    number: usize,
    layer: &'a Layer,
    /// What the layer read in the forward pass.
    input: &'a [f32],
    depth: Depth,
}

impl LayerPass<'_> {
    /// Turns the gradient by the layer's output, in `slopes.hidden`, into the one by its input.
    fn run(&self, kept: &mut LayerWork, slopes: &mut Slopes, gradients: &mut [f32]) {
        self.feed_forward(kept, slopes, gradients);
        self.attention(kept, slopes, gradients);
    }

    /// Down to the output of the first normalisation.
    fn feed_forward(&self, kept: &mut LayerWork, slopes: &mut Slopes, gradients: &mut [f32]) {
        let (gemm, weights, layer) = (&self.network.gemm, self.weights, self.layer);
        let Slopes { hidden, branch, inner, .. } = slopes;
        layer.output.backward(weights, gradients, hidden, &kept.output_kept);
        let branch = sized(branch, hidden.len());
        branch.copy_from_slice(hidden);
        self.dropout.at(site::reduced(self.number)).apply(branch, self.network.sizes.width);
        layer.reduce.backward(gemm, gradients, branch, &kept.active);
        let inner = sized(inner, kept.active.len());
        layer.reduce.input_gradient(gemm, weights, inner, branch, 0.0);
        activation::backward(inner, &mut kept.expanded);
        layer.expand.backward(gemm, gradients, inner, &kept.attended);
        // The residual's gradient is there already, and the branch's is added to it.
        layer.expand.input_gradient(gemm, weights, hidden, inner, 1.0);
    }

    /// Down to the layer's input.
    fn attention(&self, kept: &LayerWork, slopes: &mut Slopes, gradients: &mut [f32]) {
        let (gemm, weights, layer) = (&self.network.gemm, self.weights, self.layer);
        let Slopes { hidden, branch, context, projected, .. } = slopes;
        layer.attended.backward(weights, gradients, hidden, &kept.attended_kept);
        let branch = sized(branch, hidden.len());
        branch.copy_from_slice(hidden);
        self.dropout.at(site::merged(self.number)).apply(branch, self.network.sizes.width);
        layer.merge.backward(gemm, gradients, branch, &kept.context);
        let context = sized(context, kept.context.len());
        layer.merge.input_gradient(gemm, weights, context, branch, 0.0);
        let projected = sized(projected, kept.projected.len());
        let grouping = self.network.grouping(self.batch);
        let site = self.dropout.at(site::attention(self.number));
        attention::backward(projected, context, &kept.weights, &kept.projected, grouping, site);
        layer.project.backward(gemm, gradients, projected, self.input);
        if self.number > 0 && self.number == self.depth.frozen {
            // Nothing below trains, so that nobody asks for the gradient by the input.
            return;
        }
        layer.project.input_gradient(gemm, weights, hidden, projected, 1.0);
    }
}
