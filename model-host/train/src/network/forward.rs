//! The forward pass.

use rayon::prelude::*;

use super::work::{LayerWork, sized};
use super::{Network, Ragged, Work, site};
use crate::layout::Layer;
use crate::ops::dropout::Dropout;
use crate::ops::{activation, attention, embedding, pooling};

impl Network {
    /// Computes the logits of `batch`, and keeps what the backward pass needs.
    pub(crate) fn forward(&self, weights: &[f32], batch: &Ragged, dropout: Dropout, work: &mut Work) {
        self.embed(weights, batch, dropout, work);
        work.layers.resize_with(self.sizes.layers, LayerWork::default);
        let mut input = &work.embedded;
        for ((number, layer), kept) in self.layout.layers.iter().enumerate().zip(&mut work.layers) {
            self.layer(weights, batch, (number, layer), dropout, input, kept);
            input = &kept.output;
        }
        let width = self.sizes.width;
        let pooled = sized(&mut work.pooled, batch.texts() * width);
        pooling::forward(pooled, input, &batch.lengths, width);
        dropout.at(site::POOLED).apply(pooled, width);
        let logits = sized(&mut work.logits, batch.texts() * self.sizes.classes);
        self.layout.head.forward(&self.gemm, weights, logits, pooled);
    }

    fn embed(&self, weights: &[f32], batch: &Ragged, dropout: Dropout, work: &mut Work) {
        let width = self.sizes.width;
        let hidden = sized(&mut work.embedded, batch.tokens.len() * width);
        let (words, positions) = (&weights[self.layout.words.clone()], &weights[self.layout.positions.clone()]);
        embedding::gather(hidden, &batch.tokens, &batch.positions, words, positions, width);
        self.layout.embedded.forward(weights, hidden, &mut work.embedded_kept, self.sizes.epsilon);
        dropout.at(site::EMBEDDED).apply(hidden, width);
    }

    fn layer(
        &self,
        weights: &[f32],
        batch: &Ragged,
        (number, layer): (usize, &Layer),
        dropout: Dropout,
        input: &[f32],
        kept: &mut LayerWork,
    ) {
        let (width, gemm, tokens) = (self.sizes.width, &self.gemm, batch.tokens.len());
        let grouping = self.grouping(batch);
        let projected = sized(&mut kept.projected, 3 * input.len());
        layer.project.forward(gemm, weights, projected, input);
        let context = sized(&mut kept.context, input.len());
        let attended_to = sized(&mut kept.weights, grouping.weights());
        attention::forward(context, attended_to, projected, grouping, dropout.at(site::attention(number)));

        let attended = sized(&mut kept.attended, input.len());
        layer.merge.forward(gemm, weights, attended, context);
        dropout.at(site::merged(number)).apply(attended, width);
        add(attended, input);
        layer.attended.forward(weights, attended, &mut kept.attended_kept, self.sizes.epsilon);

        let expanded = sized(&mut kept.expanded, tokens * self.sizes.inner);
        layer.expand.forward(gemm, weights, expanded, attended);
        let active = sized(&mut kept.active, expanded.len());
        activation::forward(active, expanded);

        let output = sized(&mut kept.output, input.len());
        layer.reduce.forward(gemm, weights, output, active);
        dropout.at(site::reduced(number)).apply(output, width);
        add(output, attended);
        layer.output.forward(weights, output, &mut kept.output_kept, self.sizes.epsilon);
    }
}

/// `out = out + x`.
fn add(out: &mut [f32], x: &[f32]) {
    const TASK: usize = 1 << 14;
    out.par_chunks_mut(TASK).zip(x.par_chunks(TASK)).for_each(|(out, x)| {
        out.iter_mut().zip(x).for_each(|(out, x)| *out += x);
    });
}
