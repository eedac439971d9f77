//! A plan, as callers are told of it.

use trivium_proto::{
    model::v1::Intent,
    router::v1::{Decision, DecisionReason, GuardCheck as GuardMessage, Road},
};

use crate::{
    policy::{GuardCheck, Legs, Plan, PlanReason, Policy, Step},
    request::weights_to_wire,
};

/// The decision behind an answer. `intent` is `None` when the model was not asked.
pub(crate) fn decision(policy: &Policy, plan: &Plan, intent: Option<Intent>) -> Decision {
    let intent = intent.unwrap_or_default();
    let (collections, k, weights) = match &plan.step {
        Step::Retrieve(retrieval) => (retrieval.collections(), retrieval.k, retrieval.weights()),
        Step::Direct(_) | Step::Reply(_) => (Vec::new(), 0, None),
    };
    Decision {
        road: road(&plan.step).into(),
        intent: intent.label,
        confidence: intent.confidence,
        margin: intent.margin,
        threshold: plan.threshold,
        reason: reason(plan.reason).into(),
        explanation: plan.explanation.clone(),
        runners_up: intent.runners_up,
        collections,
        k,
        policy_version: policy.version().to_owned(),
        guards: plan.guards.iter().cloned().map(guard).collect(),
        weights: weights.map(weights_to_wire),
        ambiguity_margin: plan.margin,
        notes: plan.notes.clone(),
    }
}

fn road(step: &Step) -> Road {
    match step {
        Step::Retrieve(retrieval) => match retrieval.legs() {
            Legs::Lexical => Road::Lexical,
            Legs::Semantic => Road::Semantic,
            Legs::Hybrid => Road::Hybrid,
        },
        Step::Direct(_) => Road::Direct,
        Step::Reply(_) => Road::Reply,
    }
}

fn reason(reason: PlanReason) -> DecisionReason {
    match reason {
        PlanReason::Intent => DecisionReason::Intent,
        PlanReason::LowConfidence => DecisionReason::LowConfidence,
        PlanReason::OutOfScope => DecisionReason::OutOfScope,
        PlanReason::UnmappedIntent => DecisionReason::UnmappedIntent,
        PlanReason::Caller => DecisionReason::Caller,
        PlanReason::Guard => DecisionReason::Guard,
        PlanReason::Ambiguous => DecisionReason::Ambiguous,
        PlanReason::IntentUnavailable => DecisionReason::IntentUnavailable,
    }
}

fn guard(check: GuardCheck) -> GuardMessage {
    GuardMessage { name: check.name, matched: check.matched, because: check.because }
}
