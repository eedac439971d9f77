//! The buffers of a forward and a backward pass, kept from batch to batch: fresh memory for
//! each would cost more than a tenth of the time, in page faults.

use crate::ops::layer_norm::Normalised;

/// Everything that a pass writes.
#[derive(Default)]
pub(crate) struct Work {
    pub(super) embedded: Vec<f32>,
    pub(super) embedded_kept: Normalised,
    pub(super) layers: Vec<LayerWork>,
    /// The mean hidden state of each text: `[texts, width]`.
    pub(crate) pooled: Vec<f32>,
    pub(super) logits: Vec<f32>,
    pub(super) slopes: Slopes,
}

impl Work {
    /// Unnormalised scores, `[texts, classes]`, after the forward pass; what the backward pass
    /// takes for the gradient by them.
    pub(crate) fn logits(&mut self) -> &mut [f32] {
        &mut self.logits
    }
}

/// What one layer keeps for its backward pass.
#[derive(Default)]
pub(super) struct LayerWork {
    /// Query, key and value: `[tokens, 3 width]`.
    pub(super) projected: Vec<f32>,
    /// Attention weights before dropout.
    pub(super) weights: Vec<f32>,
    /// `[tokens, width]`.
    pub(super) context: Vec<f32>,
    /// After the first normalisation: `[tokens, width]`.
    pub(super) attended: Vec<f32>,
    pub(super) attended_kept: Normalised,
    /// Before the activation: `[tokens, inner]`.
    pub(super) expanded: Vec<f32>,
    /// After it.
    pub(super) active: Vec<f32>,
    /// After the second normalisation: `[tokens, width]`.
    pub(super) output: Vec<f32>,
    pub(super) output_kept: Normalised,
}

/// Gradients on their way down.
#[derive(Default)]
pub(super) struct Slopes {
    /// By the pooled states: `[texts, width]`.
    pub(super) pooled: Vec<f32>,
    /// By the hidden states between layers: `[tokens, width]`.
    pub(super) hidden: Vec<f32>,
    /// By what is added to them: `[tokens, width]`.
    pub(super) branch: Vec<f32>,
    /// By the attention's context: `[tokens, width]`.
    pub(super) context: Vec<f32>,
    /// Inside the feed-forward part: `[tokens, inner]`.
    pub(super) inner: Vec<f32>,
    /// By query, key and value: `[tokens, 3 width]`.
    pub(super) projected: Vec<f32>,
}

/// Sets a buffer's length; its content is overwritten by whoever asked.
pub(super) fn sized(buffer: &mut Vec<f32>, length: usize) -> &mut [f32] {
    buffer.resize(length, 0.0);
    buffer
}
