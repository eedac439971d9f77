//! The second stage of a retrieval, as a policy says it.

use trivium_ranking::second_stage::SecondStageWeight;

/// Fewest candidates of a second stage: one cannot be put in another order.
pub const MIN_RERANK_DEPTH: u32 = 2;
/// Most candidates.
pub const MAX_RERANK_DEPTH: u32 = 200;

/// A choice of the second stage. What is left open, the retriever fills in.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RerankChoice {
    /// How the first candidates are scored; `None` means the collection's default.
    pub method: Option<RerankMethod>,
    /// How many of them, [`MIN_RERANK_DEPTH`] to [`MAX_RERANK_DEPTH`]; `None` means the retriever's number.
    pub depth: Option<u32>,
    /// Share of the second stage's score; `None` means the method's own.
    pub weight: Option<SecondStageWeight>,
}

/// A way of scoring candidates a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RerankMethod {
    /// Not at all.
    None,
    /// By the encoder's own token vectors.
    LateInteraction,
    /// By the cross-encoder that serves.
    CrossEncoder,
}

impl RerankMethod {
    /// Its name in the policy file.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::LateInteraction => "late_interaction",
            Self::CrossEncoder => "cross_encoder",
        }
    }
}

impl RerankChoice {
    /// The choice in words; `None` where everything is left open.
    pub(super) fn words(&self) -> Option<String> {
        let method = self.method.map(|method| format!("second stage {}", method.name()));
        let depth = self.depth.map(|depth| format!("over the first {depth}"));
        let weight = self.weight.map(|weight| format!("weighing {}", weight.get()));
        let parts: Vec<String> = [method, depth, weight].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}
