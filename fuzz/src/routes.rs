//! The policy file: it is read or refused with a place in it, and what was read decides every query, whatever the
//! intent model says.

use trivium_proto::model::v1::{Intent, IntentScore};
use trivium_router::policy::{self, MAX_COLLECTIONS, MAX_K, Opening, Overrides, Plan, Policy, PolicyError, Step};

/// Stands between the policy and the query; neither may hold it.
const SEPARATOR: char = '\0';

/// Numbers that a model could send as probabilities.
const CONFIDENCES: [f64; 6] = [0.0, 0.31, 0.5, 1.0, f64::NAN, f64::INFINITY];

/// Reads the bytes as a policy and a query, and decides.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, query) = text.split_once(SEPARATOR).unwrap_or((text, "how do I rotate \"signing keys\"?"));
    match Policy::parse(text, &["docs".to_owned()]) {
        Ok(policy) => decides(&policy, query),
        Err(error) => has_a_place(&error, text),
    }
}

fn has_a_place(error: &PolicyError, text: &str) {
    let lines = text.matches('\n').count() + 1;
    assert!((1..=lines).contains(&error.at.line) && error.at.column >= 1, "{error}");
    assert!(!error.why.is_empty());
}

fn decides(policy: &Policy, query: &str) {
    assert_eq!(policy.version().len(), 16);
    assert!(policy.rules().len() >= 4);
    let collections = policy.collections();
    // Without labels every intent of the policy is unknown to the model, which names them all.
    let mut labels = policy.compare_labels(&[], "").unknown;
    labels.extend(["", "no such intent"].map(str::to_owned));
    let wishes = Overrides::default();
    let Opening::Open(open) = policy::open(policy, query, None, &wishes) else {
        return;
    };
    is_sound(&open.clone().without_intent(policy, &wishes), &collections);
    for (place, label) in labels.iter().enumerate().take(8) {
        for confidence in CONFIDENCES {
            let other =
                IntentScore { label: labels[(place + 1) % labels.len()].clone(), probability: 1.0 - confidence };
            let intent = Intent {
                label: label.clone(),
                confidence,
                out_of_scope: place % 3 == 2,
                strangeness: (place % 2 == 1).then_some(confidence),
                runners_up: vec![other],
                ..Intent::default()
            };
            let plan = open.clone().decide(policy, &intent, &wishes);
            is_sound(&plan, &collections);
            assert_eq!(plan, open.clone().decide(policy, &intent, &wishes), "a decision is a function of its input");
        }
    }
}

fn is_sound(plan: &Plan, collections: &[&str]) {
    assert!(!plan.explanation.is_empty() && plan.threshold.is_finite());
    let Step::Retrieve(retrieval) = &plan.step else { return };
    assert!((1..=MAX_COLLECTIONS).contains(&retrieval.searches.len()));
    assert!((1..=MAX_K).contains(&retrieval.k));
    for search in &retrieval.searches {
        assert!(collections.contains(&search.collection.as_str()), "{} is not the policy's", search.collection);
        let Some(weights) = search.fusion.weights else { continue };
        let parts = [weights.lexical(), weights.semantic(), weights.own()];
        assert!(parts.iter().all(|part| part.is_finite() && *part >= 0.0), "{parts:?}");
        assert!(parts.iter().any(|part| *part > 0.0), "{parts:?}");
    }
}
