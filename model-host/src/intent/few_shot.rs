//! Labels that join a model after its training, from a few examples.

mod add;
mod kept;
mod row;

use serde::{Deserialize, Serialize};

pub use add::{AddError, AddOptions, Added, MOST_EXAMPLES, add_intent};
pub(super) use kept::Kept;

/// The fewest examples that a label is added from: with fewer, leaving one out says nothing.
pub const FEWEST_EXAMPLES: usize = 5;

/// How a label was added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewShot {
    /// Examples that it was made from.
    pub examples: usize,
    /// Share of them that the model decides for the label, and takes to be in scope, when each
    /// is left out of the making in turn, 0 to 1.
    pub left_out_recall: f32,
    /// Share of the kept validation queries of other labels that the new one takes over, 0
    /// to 1.
    pub taken_over: f32,
}
