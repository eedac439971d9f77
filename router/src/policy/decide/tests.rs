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
        assert_eq!((plan.step.road(), plan.reason, plan.threshold), (road, reason, threshold), "{label} {confidence}");
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
