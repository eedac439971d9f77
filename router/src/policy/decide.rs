//! From a query and its intent to a plan.
//!
//! In two steps, because the first may spare the model: what the caller or a guard settles is a plan at once, and only
//! what is open after them needs the intent.

use trivium_proto::model::v1::Intent;

use super::{
    Direct, FusionChoice, GuardCheck, Legs, Policy, Rule, Step,
    ambiguous::{self, Resolved},
    evidence, explain,
    step::Action,
};

/// What a caller wishes beyond the road. What is left open, the policy fills in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// The collections to search; empty means the policy's.
    pub collections: Vec<String>,
    /// Passages to ask for; `None` means the policy's number.
    pub k: Option<u32>,
    /// How the legs are fused; `None` means the policy's way.
    pub fusion: Option<FusionChoice>,
    /// The generator; `None` means the policy's.
    pub generator: Option<String>,
    /// What the documents must fulfil.
    pub conditions: Conditions,
}

/// Which conditions on the documents a caller set. What they say is the retriever's to read; a plan only tells whether
/// anything is searched that they could apply to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// A filter.
    pub filter: bool,
    /// An earlier state.
    pub as_of: bool,
    /// The least versions.
    pub min_versions: bool,
}

/// A road that a caller can choose. The reply road is not among them: its texts
/// belong to intents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForcedRoad {
    /// A road with retrieval.
    Retrieve(Legs),
    /// The road straight to the generator.
    Direct,
}

/// The rule that chose a road.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanReason {
    /// The intent was believed, and the policy names a road for it.
    Intent,
    /// The confidence was below the threshold.
    LowConfidence,
    /// The query is outside the model's scope.
    OutOfScope,
    /// The policy has no rule for the intent.
    UnmappedIntent,
    /// The caller chose.
    Caller,
    /// A guard matched.
    Guard,
    /// Intents were too close to tell apart.
    Ambiguous,
    /// The intent could not be had.
    IntentUnavailable,
}

impl PlanReason {
    /// The name of the rule in traces and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::LowConfidence => "low_confidence",
            Self::OutOfScope => "out_of_scope",
            Self::UnmappedIntent => "unmapped_intent",
            Self::Caller => "caller",
            Self::Guard => "guard",
            Self::Ambiguous => "ambiguous",
            Self::IntentUnavailable => "intent_unavailable",
        }
    }
}

/// What is done with a query, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What is done.
    pub step: Step,
    /// The rule that chose it.
    pub reason: PlanReason,
    /// The confidence that was asked for, 0 to 1; 0 when no intent was looked at.
    pub threshold: f64,
    /// Intents closer than this counted as equally likely, 0 to 1; 0 when no intent was looked at.
    pub margin: f64,
    /// The rule in words, for people. It holds no text of the query.
    pub explanation: String,
    /// The guards that were looked at, in the policy's order; the last one matched when the reason is
    /// [`PlanReason::Guard`].
    pub guards: Vec<GuardCheck>,
    /// Wishes that this road has no use for, in words.
    pub notes: Vec<String>,
}

/// What is known before the model is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum Opening {
    /// The caller or a guard settled it: the model need not be asked for the intent.
    Settled(Box<Plan>),
    /// The intent decides.
    Open(Open),
}

/// A query that no guard settled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Open {
    guards: Vec<GuardCheck>,
}

/// Looks at what needs no model: the road that the caller chose, which goes before everything, and then the guards, of
/// which the first that matches decides.
pub fn open(policy: &Policy, query: &str, road: Option<ForcedRoad>, wishes: &Overrides) -> Opening {
    if let Some(road) = road {
        return Opening::Settled(Box::new(forced(policy, road, wishes)));
    }
    let mut guards = Vec::with_capacity(policy.guards.len());
    for guard in &policy.guards {
        let check = guard.check(query);
        let matched = check.matched;
        guards.push(check);
        if matched {
            return Opening::Settled(Box::new(guarded(&guard.action, guards, wishes)));
        }
    }
    Opening::Open(Open { guards })
}

impl Open {
    /// The plan for a query whose intent could not be had: what `[default]` does.
    pub fn without_intent(self, policy: &Policy, wishes: &Overrides) -> Plan {
        let step = policy.default.step(wishes);
        let explanation = format!("the intent could not be had: the default, {}", step.road());
        unasked(PlanReason::IntentUnavailable, step, explanation, self.guards, wishes)
    }

    /// The plan for a query of this intent.
    ///
    /// The confidence must reach the threshold of the intent's rule; where the rule has none, the model's own for the
    /// label; where the model has none, that of `[default]`. A confidence that is no number reaches nothing. Where
    /// other intents are about as probable, and they have the threshold together, their roads are put together.
    pub fn decide(self, policy: &Policy, intent: &Intent, wishes: &Overrides) -> Plan {
        let rule = match intent.out_of_scope {
            true => Some(&policy.out_of_scope),
            false => policy.intents.get(&intent.label).map(|mapped| &mapped.rule),
        };
        let threshold = threshold(policy, rule, intent);
        // A model that tells queries outside its scope by a score says nothing of them by the confidence of the label
        // that they resemble most.
        let strange = intent.out_of_scope && intent.strangeness.is_some();
        let close = if strange { None } else { ambiguous::resolve(policy, intent, threshold, wishes) };
        let believed = strange || intent.confidence >= threshold;
        let (reason, step, explanation) = match close {
            Some(Resolved { labels, step }) => {
                let explanation = explain::ambiguous(intent, &labels, policy.ambiguous.margin, &step);
                (PlanReason::Ambiguous, step, explanation)
            }
            None => {
                let (reason, action) = match rule {
                    _ if !believed => (PlanReason::LowConfidence, &policy.low_confidence),
                    None => (PlanReason::UnmappedIntent, &policy.default),
                    Some(rule) if intent.out_of_scope => (PlanReason::OutOfScope, &rule.action),
                    Some(rule) => (PlanReason::Intent, &rule.action),
                };
                let mut step = action.step(wishes);
                if reason == PlanReason::LowConfidence {
                    follow_evidence(&mut step, policy, intent);
                }
                let explanation = explain::intent(intent, threshold, reason, *action == policy.default, &step);
                (reason, step, explanation)
            }
        };
        let notes = notes(&step, wishes);
        Plan { step, reason, threshold, margin: policy.ambiguous.margin, explanation, guards: self.guards, notes }
    }
}

/// Weighs the legs of a hybrid road by what the model holds likely, unless the policy or the caller said how.
fn follow_evidence(step: &mut Step, policy: &Policy, intent: &Intent) {
    if let Step::Retrieve(retrieval) = step
        && retrieval.legs() == Legs::Hybrid
        && retrieval.weights().is_none()
    {
        retrieval.weigh(evidence::weights(policy, intent));
    }
}

/// The plan for a road that the caller chose, with the settings of `[default]`.
fn forced(policy: &Policy, road: ForcedRoad, wishes: &Overrides) -> Plan {
    let settings = policy.settings.clone();
    let action = match road {
        ForcedRoad::Retrieve(legs) => Action::Retrieve(legs, settings),
        ForcedRoad::Direct => {
            Action::Direct(Direct { generator: settings.generator, prompt: settings.prompt, reply: None })
        }
    };
    let step = action.step(wishes);
    let explanation = format!("the caller chose: {}", step.road());
    unasked(PlanReason::Caller, step, explanation, Vec::new(), wishes)
}

/// The plan of the last guard, which matched.
fn guarded(action: &Action, guards: Vec<GuardCheck>, wishes: &Overrides) -> Plan {
    let step = action.step(wishes);
    let explanation = explain::guard(guards.last(), &step);
    unasked(PlanReason::Guard, step, explanation, guards, wishes)
}

/// A plan without an intent.
fn unasked(reason: PlanReason, step: Step, explanation: String, guards: Vec<GuardCheck>, wishes: &Overrides) -> Plan {
    let notes = notes(&step, wishes);
    Plan { step, reason, threshold: 0.0, margin: 0.0, explanation, guards, notes }
}

fn threshold(policy: &Policy, rule: Option<&Rule>, intent: &Intent) -> f64 {
    let of_model = (intent.threshold > 0.0).then_some(intent.threshold);
    rule.and_then(|rule| rule.threshold).or(of_model).unwrap_or(policy.threshold)
}

/// A condition on documents means something else to its caller than to a road that reads none, so that is said.
fn notes(step: &Step, wishes: &Overrides) -> Vec<String> {
    if matches!(step, Step::Retrieve(_)) {
        return Vec::new();
    }
    let Conditions { filter, as_of, min_versions } = wishes.conditions;
    let set = [("filter", filter), ("as_of", as_of), ("min_versions", min_versions)];
    let names = set.into_iter().filter(|(_, is_set)| *is_set);
    names.map(|(name, _)| format!("{name} has no effect: the {} road searches nothing", step.road())).collect()
}

#[cfg(test)]
mod tests;
