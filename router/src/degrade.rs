//! The ladder: what can break below an answer, and what the answer does without it.
//!
//! Each rung is a row of [`LADDER`]. A step down the ladder is taken in the open: [`step_down`] is the one way to take it,
//! and it gives the flag in the answer, writes the log and names the attribute in the trace.

use trivium_proto::router::v1::Degradation;
use trivium_service_kit::{
    Reason, Service,
    telemetry::{metrics, names::attribute as key},
};

/// What can break, in the order of [`LADDER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rung {
    /// The intent cannot be had.
    Intent,
    /// The query's vector cannot be had.
    Embedding,
    /// The semantic leg of a search fails or is late.
    SemanticLeg,
    /// The lexical leg of a search fails or is late.
    LexicalLeg,
    /// The second stage of a search fails or is late.
    Rerank,
    /// One of several collections cannot be searched.
    Collection,
    /// No collection can be searched.
    Retriever,
    /// The generator fails before its first word.
    Generator,
    /// The generator fails in the middle.
    BrokenAnswer,
    /// No generator is configured on the direct road.
    FixedText,
}

/// A rung of the ladder.
#[derive(Debug)]
pub(crate) struct Row {
    /// The rung.
    pub rung: Rung,
    /// What is left out, as [`Degradation::part`] and the counter's label name it.
    pub part: &'static str,
    /// The attribute of the query's span that holds the reason.
    pub attribute: &'static str,
    /// What is done instead, as [`Degradation::detail`] says it.
    pub instead: &'static str,
}

/// The rungs, in the order in which a query meets them.
pub(crate) const LADDER: [Row; 10] = [
    Row {
        rung: Rung::Intent,
        part: "intent",
        attribute: key::TRIVIUM_DEGRADED_INTENT,
        instead: "the policy's default decides, as no rule needs the intent",
    },
    Row {
        rung: Rung::Embedding,
        part: "embedding",
        attribute: key::TRIVIUM_DEGRADED_EMBEDDING,
        instead: "passages are searched for by words alone",
    },
    Row {
        rung: Rung::SemanticLeg,
        part: "semantic_leg",
        attribute: key::TRIVIUM_DEGRADED_SEMANTIC_LEG,
        instead: "the lexical leg answers alone",
    },
    Row {
        rung: Rung::LexicalLeg,
        part: "lexical_leg",
        attribute: key::TRIVIUM_DEGRADED_LEXICAL_LEG,
        instead: "the semantic leg answers alone",
    },
    Row {
        rung: Rung::Rerank,
        part: "rerank",
        attribute: key::TRIVIUM_DEGRADED_RERANK,
        instead: "the fused order stands",
    },
    Row {
        rung: Rung::Collection,
        part: "collection",
        attribute: key::TRIVIUM_DEGRADED_COLLECTION,
        instead: "the other collections answer without it",
    },
    Row {
        rung: Rung::Retriever,
        part: "retriever",
        attribute: key::TRIVIUM_DEGRADED_RETRIEVER,
        instead: "the generator answers without passages, as the policy allows",
    },
    Row {
        rung: Rung::Generator,
        part: "generator",
        attribute: key::TRIVIUM_DEGRADED_GENERATOR,
        instead: "the passages stand without an answer",
    },
    Row {
        rung: Rung::BrokenAnswer,
        part: "generator",
        attribute: key::TRIVIUM_DEGRADED_GENERATOR,
        instead: "the answer breaks off; what was sent before it is complete",
    },
    Row {
        rung: Rung::FixedText,
        part: "generator",
        attribute: key::TRIVIUM_DEGRADED_GENERATOR,
        instead: "the policy's fixed text stands in for an answer",
    },
];

impl Rung {
    /// The rung's row.
    pub fn row(self) -> &'static Row {
        let row = &LADDER[self as usize];
        debug_assert_eq!(row.rung, self);
        row
    }
}

/// Takes a step down the ladder: counts it, writes the log, and gives the flag for the answer. `collection` is empty
/// where the part belongs to none.
pub(crate) fn step_down(rung: Rung, reason: Reason, collection: &str) -> Degradation {
    let row = rung.row();
    metrics::of(Service::Router).degraded(row.part, reason);
    let reason = reason.as_str();
    tracing::warn!(part = row.part, reason, collection, instead = row.instead, "an answer does without a part");
    Degradation {
        part: row.part.to_owned(),
        reason: reason.to_owned(),
        detail: row.instead.to_owned(),
        collection: collection.to_owned(),
    }
}

/// Whether a failed hop is one to do without: it is away, late, overloaded or at fault. Everything else is an answer:
/// the caller asked for what there is not, or asked for it wrongly.
pub(crate) fn is_outage(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ModelHostUnavailable
            | Reason::RetrieverUnavailable
            | Reason::GeneratorFailed
            | Reason::Overloaded
            | Reason::ShuttingDown
            | Reason::DeadlineExceeded
            | Reason::CollectionDamaged
            | Reason::StorageFailed
            | Reason::Internal
            // The call was given up below, not by our caller: theirs takes this very work with it.
            | Reason::Cancelled
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rung_has_its_own_row() {
        for (place, row) in LADDER.iter().enumerate() {
            assert_eq!(row.rung as usize, place, "{row:?}");
            assert_eq!(row.attribute.strip_prefix("trivium.degraded."), Some(row.part));
            assert_eq!(LADDER.iter().filter(|other| other.instead == row.instead).count(), 1, "{row:?}");
        }
    }

    #[test]
    fn the_guide_has_every_row() {
        // Relative to the crate, where cargo runs its tests: a build folder may outlive the checkout that filled it.
        let guide = std::fs::read_to_string("../docs/guides/degradation.md").expect("the guide");
        for row in &LADDER {
            let end = format!("| `{}` | {} |", row.part, row.instead);
            assert!(guide.lines().any(|line| line.ends_with(&end)), "the guide has no line that ends with {end}");
        }
    }

    #[test]
    fn a_step_down_tells_part_reason_and_what_is_done() {
        let flag = step_down(Rung::SemanticLeg, Reason::DeadlineExceeded, "docs");
        assert_eq!((flag.part.as_str(), flag.reason.as_str()), ("semantic_leg", "DEADLINE_EXCEEDED"));
        assert_eq!((flag.detail.as_str(), flag.collection.as_str()), ("the lexical leg answers alone", "docs"));
    }

    #[test]
    fn what_a_caller_asked_for_wrongly_is_no_outage() {
        for reason in [Reason::FieldInvalid, Reason::CollectionNotFound, Reason::FilterInvalid, Reason::NoGenerator] {
            assert!(!is_outage(reason), "{reason:?}");
        }
    }
}
