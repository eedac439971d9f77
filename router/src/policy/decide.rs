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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = r#"
        version = 1
        [default]
        threshold = 0.5
        k = 5
        [out_of_scope]
        route = "reply"
        reply = "no"
        [intents.lookup]
        route = "lexical"
        threshold = 0.8
        [intents.how_to]
        route = "hybrid"
        collections = ["guides"]
        generator = "extractive"
        prompt = "steps"
        [intents.chat]
        route = "direct"
        reply = "hello"
        prompt = "chatty"
    "#;

    fn policy() -> Policy {
        Policy::parse(TEXT, &["docs".to_owned()]).expect("a policy that is right")
    }

    fn decide(policy: &Policy, intent: &Intent, wishes: &Overrides) -> Plan {
        Open::default().decide(policy, intent, wishes)
    }

    fn intent(label: &str, confidence: f64, of_model: f64) -> Intent {
        let out_of_scope = label == "oos";
        Intent { label: label.to_owned(), confidence, threshold: of_model, out_of_scope, ..Intent::default() }
    }

    #[test]
    fn decisions_are_as_the_policy_says() {
        use PlanReason::{Intent as Believed, LowConfidence, OutOfScope, UnmappedIntent};
        let table = [
            // label, confidence, the model's threshold, road, reason, threshold
            ("lookup", 0.9, 0.0, "lexical", Believed, 0.8),
            ("lookup", 0.8, 0.0, "lexical", Believed, 0.8),
            ("lookup", 0.79, 0.0, "hybrid", LowConfidence, 0.8),
            // The rule's own threshold goes before the model's.
            ("lookup", 0.85, 0.9, "lexical", Believed, 0.8),
            ("how_to", 0.6, 0.0, "hybrid", Believed, 0.5),
            ("how_to", 0.6, 0.7, "hybrid", LowConfidence, 0.7),
            ("how_to", 0.4, 0.3, "hybrid", Believed, 0.3),
            ("chat", 1.0, 0.0, "direct", Believed, 0.5),
            ("oos", 0.9, 0.0, "reply", OutOfScope, 0.5),
            ("oos", 0.4, 0.0, "hybrid", LowConfidence, 0.5),
            ("weather", 0.9, 0.0, "hybrid", UnmappedIntent, 0.5),
            ("weather", 0.2, 0.0, "hybrid", LowConfidence, 0.5),
            ("lookup", f64::NAN, 0.0, "hybrid", LowConfidence, 0.8),
        ];
        for (label, confidence, of_model, road, reason, threshold) in table {
            let plan = decide(&policy(), &intent(label, confidence, of_model), &Overrides::default());
            assert_eq!(
                (plan.step.road(), plan.reason, plan.threshold),
                (road, reason, threshold),
                "{label} {confidence}"
            );
        }
    }

    #[test]
    fn a_strange_query_is_out_of_scope_whatever_it_resembles() {
        for (strangeness, reason) in [(Some(7.5), PlanReason::OutOfScope), (None, PlanReason::LowConfidence)] {
            let strange = Intent { out_of_scope: true, strangeness, ..intent("lookup", 0.1, 0.9) };
            assert_eq!(decide(&policy(), &strange, &Overrides::default()).reason, reason);
        }
    }

    #[test]
    fn rules_inherit_what_they_leave_out() {
        let plan = decide(&policy(), &intent("how_to", 0.9, 0.0), &Overrides::default());
        let Step::Retrieve(retrieval) = plan.step else { panic!("a road with retrieval") };
        assert_eq!(retrieval.legs(), Legs::Hybrid);
        assert_eq!(retrieval.collections(), ["guides"]);
        assert_eq!(retrieval.k, 5);
        assert_eq!(retrieval.generator.as_deref(), Some("extractive"));
        assert_eq!(retrieval.prompt.as_deref(), Some("steps"));
    }

    #[test]
    fn out_of_scope_without_a_rule_takes_the_default() {
        let policy = Policy::parse("version = 1", &["docs".to_owned()]).expect("the least policy");
        let plan = decide(&policy, &intent("oos", 0.9, 0.0), &Overrides::default());
        assert_eq!((plan.step.road(), plan.reason), ("hybrid", PlanReason::OutOfScope));
    }

    #[test]
    fn wishes_go_before_the_policy() {
        let overrides = Overrides {
            collections: vec!["mine".to_owned()],
            k: Some(2),
            generator: Some("remote".to_owned()),
            ..Overrides::default()
        };
        let plan = decide(&policy(), &intent("lookup", 0.9, 0.0), &overrides);
        let Step::Retrieve(retrieval) = plan.step else { panic!("a road with retrieval") };
        assert_eq!((retrieval.collections(), retrieval.k), (vec!["mine".to_owned()], 2));
        assert_eq!(retrieval.searches[0].k, 2);
        assert_eq!(retrieval.generator.as_deref(), Some("remote"));
        let plan = decide(&policy(), &intent("chat", 0.9, 0.0), &overrides);
        let expected = Direct {
            generator: Some("remote".to_owned()),
            prompt: Some("chatty".to_owned()),
            reply: Some("hello".to_owned()),
        };
        assert_eq!(plan.step, Step::Direct(expected));
    }

    #[test]
    fn a_chosen_road_has_the_default_settings() {
        let plan = forced(&policy(), ForcedRoad::Retrieve(Legs::Semantic), &Overrides::default());
        let Step::Retrieve(retrieval) = &plan.step else { panic!("a road with retrieval") };
        assert_eq!((retrieval.legs(), retrieval.k), (Legs::Semantic, 5));
        assert_eq!((plan.reason, plan.threshold), (PlanReason::Caller, 0.0));
        assert_eq!(plan.explanation, "the caller chose: semantic");
    }

    #[test]
    fn explanations_are_sentences_for_people() {
        let table = [
            ("how_to", 0.93, "how_to at 0.93, above 0.50: hybrid"),
            ("how_to", 0.31, "how_to at 0.31, below 0.50: the default, hybrid"),
            ("how_to", 0.4999, "how_to at 0.4999, below 0.5000: the default, hybrid"),
            ("how_to", 0.5, "how_to at 0.50, exactly the threshold: hybrid"),
            ("oos", 0.9, "oos at 0.90, above 0.50, outside the model's scope: reply"),
            ("weather", 0.9, "weather at 0.90, above 0.50, and the policy has no rule for it: the default, hybrid"),
        ];
        for (label, confidence, expected) in table {
            let plan = decide(&policy(), &intent(label, confidence, 0.0), &Overrides::default());
            assert_eq!(plan.explanation, expected);
        }
    }

    proptest! {
        #[test]
        fn only_a_believed_intent_leaves_the_default(
            label in "lookup|how_to|chat|oos|weather",
            confidence in 0.0..=1.0_f64,
            of_model in 0.0..=1.0_f64,
        ) {
            let plan = decide(&policy(), &intent(&label, confidence, of_model), &Overrides::default());
            prop_assert!((0.0..=1.0).contains(&plan.threshold));
            prop_assert_eq!(plan.reason == PlanReason::LowConfidence, confidence < plan.threshold);
            if matches!(plan.reason, PlanReason::LowConfidence | PlanReason::UnmappedIntent) {
                prop_assert_eq!(plan.step.road(), "hybrid");
            }
        }

        #[test]
        fn more_confidence_never_leads_back_to_the_default(
            label in "lookup|how_to|chat|oos",
            (low, high) in (0.0..=1.0_f64, 0.0..=1.0_f64).prop_map(|(a, b)| (a.min(b), a.max(b))),
        ) {
            let reason = |confidence| decide(&policy(), &intent(&label, confidence, 0.0), &Overrides::default()).reason;
            if reason(low) != PlanReason::LowConfidence {
                prop_assert_eq!(reason(high), reason(low));
            }
        }

        #[test]
        fn a_wish_for_k_always_holds(k in 1..=100_u32, confidence in 0.0..=1.0_f64) {
            let overrides = Overrides { k: Some(k), ..Overrides::default() };
            let plan = decide(&policy(), &intent("how_to", confidence, 0.0), &overrides);
            let Step::Retrieve(retrieval) = plan.step else { panic!("a road with retrieval") };
            prop_assert!(retrieval.k == k && retrieval.searches.iter().all(|search| search.k == k));
        }
    }
}
