//! Decisions in words, for people. None of them holds text of the query.

use trivium_proto::model::v1::Intent;

use super::{GuardCheck, LegWeights, PlanReason, Step, evidence};

/// Weights below this would show as 0.00.
const LEAST_SHOWN: f64 = 0.005;

/// A decision by the most probable intent.
pub(super) fn intent(intent: &Intent, threshold: f64, reason: PlanReason, is_default: bool, step: &Step) -> String {
    let evidence = format!("{} at {}", intent.label, compare(intent.confidence, threshold));
    let road = road(step);
    let fallback = if is_default { format!("the default, {road}") } else { road.clone() };
    match reason {
        PlanReason::LowConfidence => format!("{evidence}: {fallback}"),
        PlanReason::OutOfScope => format!("{evidence}, outside the model's scope: {road}"),
        PlanReason::UnmappedIntent => format!("{evidence}, and the policy has no rule for it: {fallback}"),
        _ => format!("{evidence}: {road}"),
    }
}

/// A decision between intents that are about equally likely.
pub(super) fn ambiguous(intent: &Intent, labels: &[&str], margin: f64, step: &Step) -> String {
    let shown: Vec<String> = evidence::scores(intent)
        .zip(labels)
        .map(|((label, probability), _)| format!("{label} at {probability:.2}"))
        .collect();
    let searched = match step {
        Step::Retrieve(retrieval) if retrieval.searches.len() > 1 => {
            format!(", in {}", list(&retrieval.collections()))
        }
        _ => String::new(),
    };
    format!("{} are closer than {margin:.2}: {}{searched}", list(&shown), road(step))
}

/// A decision by a guard.
pub(super) fn guard(check: Option<&GuardCheck>, step: &Step) -> String {
    match check {
        Some(GuardCheck { name, because, .. }) => format!("guard {name}, {because}: {}", road(step)),
        None => road(step),
    }
}

/// The road, with what each leg counts where that was decided.
fn road(step: &Step) -> String {
    let weights = match step {
        Step::Retrieve(retrieval) => retrieval.weights().map(weights).unwrap_or_default(),
        Step::Direct(_) | Step::Reply(_) => String::new(),
    };
    format!("{}{weights}", step.road())
}

fn weights(weights: LegWeights) -> String {
    let parts =
        [("words", weights.lexical()), ("meaning", weights.semantic()), ("the collection's own blend", weights.own())];
    let shown = parts.iter().filter(|(_, weight)| *weight >= LEAST_SHOWN);
    let shown: Vec<String> = shown.map(|(name, weight)| format!("{name} {weight:.2}")).collect();
    format!(" ({})", shown.join(", "))
}

/// `a, b and c`.
fn list(parts: &[String]) -> String {
    match parts {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => parts.concat(),
    }
}

/// Both numbers with as few digits, two at least, as show that they differ.
fn compare(confidence: f64, threshold: f64) -> String {
    if confidence == threshold {
        return format!("{confidence:.2}, exactly the threshold");
    }
    let relation = if confidence > threshold { "above" } else { "below" };
    let pair = |digits: usize| (format!("{confidence:.digits$}"), format!("{threshold:.digits$}"));
    let differ = |(left, right): &(String, String)| left != right;
    let (left, right) = (2..6).map(pair).find(differ).unwrap_or_else(|| pair(6));
    format!("{left}, {relation} {right}")
}
