//! Several intents, evidence, filters of rules, and the policy itself.

use trivium_proto::{
    model::v1::IntentScore,
    retriever::v1::{AsOf, Leg, as_of::State},
    router::v1::{DecisionReason, GetPolicyRequest, QueryOptions, Road},
};
use trivium_service_kit::Reason;

use crate::{
    fake_model_host::intent,
    fake_retriever::hit,
    world::{Plan, World},
};

const ROUTES: &str = r#"
version = 1
[intents.lookup]
route = "lexical"
collections = ["docs"]
filter = 'lang = "en"'
[intents.factual]
route = "semantic"
collections = ["faq"]
[intents.small_talk]
route = "reply"
reply = "Hello!"
"#;

fn plan(scores: &[(&str, f64)]) -> Plan {
    let mut plan = Plan { routes: Some(ROUTES), ..Plan::default() };
    let (label, confidence) = scores[0];
    plan.model_host.intent = intent(label, confidence);
    plan.model_host.intent.runners_up = scores[1..]
        .iter()
        .map(|(label, probability)| IntentScore { label: (*label).to_owned(), probability: *probability })
        .collect();
    plan.retriever.collections.insert("faq", vec![hit("billing.md", 5.0, 0.7)]);
    plan
}

#[tokio::test]
async fn two_close_intents_are_searched_for_side_by_side_with_weights_from_their_probabilities() {
    let world = World::start(plan(&[("lookup", 0.5), ("factual", 0.4375)])).await;
    let response = world.query(QueryOptions::default()).await.expect("an answer");
    let decision = response.decision.expect("a decision");
    assert_eq!((decision.road(), decision.reason()), (Road::Hybrid, DecisionReason::Ambiguous));
    assert_eq!(decision.collections, ["docs", "faq"]);
    assert_eq!(decision.ambiguity_margin, 0.1);
    let weights = decision.weights.expect("weights from the evidence");
    assert_eq!([weights.lexical, weights.semantic, weights.own], [0.5, 0.4375, 0.0625]);
    let mut searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    searched.sort_by(|a, b| a.collection.cmp(&b.collection));
    let asked: Vec<_> = searched.iter().map(|request| (request.collection.as_str(), request.filter.as_str())).collect();
    assert_eq!(asked, [("docs", r#"lang = "en""#), ("faq", "")]);
    for request in &searched {
        assert_eq!(request.legs, [i32::from(Leg::Lexical), i32::from(Leg::Semantic)]);
        assert_eq!(request.fusion.and_then(|fusion| fusion.weights), Some(weights));
        assert_eq!(request.vectors.len(), 1);
    }
    let collections: std::collections::BTreeSet<_> =
        response.passages.iter().map(|passage| passage.collection.as_str()).collect();
    assert_eq!(collections.into_iter().collect::<Vec<_>>(), ["docs", "faq"]);
}

#[tokio::test]
async fn an_unsure_decision_weighs_the_legs_by_the_evidence() {
    let world = World::start(plan(&[("lookup", 0.375), ("factual", 0.125)])).await;
    let decision = world.query(QueryOptions::default()).await.expect("an answer").decision.expect("a decision");
    assert_eq!((decision.road(), decision.reason()), (Road::Hybrid, DecisionReason::LowConfidence));
    let weights = decision.weights.expect("weights from the evidence");
    assert_eq!([weights.lexical, weights.semantic, weights.own], [0.375, 0.125, 0.5]);
}

#[tokio::test]
async fn the_filters_of_rule_and_caller_both_hold() {
    let world = World::start(plan(&[("lookup", 0.9)])).await;
    let options = QueryOptions { filter: "year = 2026".into(), ..QueryOptions::default() };
    let decision = world.query(options).await.expect("an answer").decision.expect("a decision");
    assert!(decision.notes.is_empty());
    let searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    assert_eq!(searched[0].filter, r#"(lang = "en") AND (year = 2026)"#);
}

#[tokio::test]
async fn a_callers_filter_does_not_undo_that_of_the_rule() {
    let world = World::start(plan(&[("lookup", 0.9)])).await;
    let options = QueryOptions { filter: "year = 2026) OR (year != 2026".into(), ..QueryOptions::default() };
    let error = world.query(options).await.expect_err("refused");
    assert_eq!((error.reason(), error.field()), (Reason::FilterInvalid, Some("options.filter")), "{error}");
    assert!(world.retriever.searched.lock().expect("no test panics with it").is_empty());
}

#[tokio::test]
async fn conditions_without_effect_are_told() {
    let world = World::start(plan(&[("small_talk", 0.9)])).await;
    let options = QueryOptions {
        filter: "year = 2026".into(),
        as_of: Some(AsOf { state: Some(State::Version(3)) }),
        min_versions: [("docs".to_owned(), 7)].into(),
        ..QueryOptions::default()
    };
    let decision = world.query(options).await.expect("an answer").decision.expect("a decision");
    let expected = ["filter", "as_of", "min_versions"]
        .map(|name| format!("{name} has no effect: the reply road searches nothing"));
    assert_eq!(decision.notes, expected);
}

#[tokio::test]
async fn a_copy_in_a_second_collection_is_named_and_not_repeated() {
    let mut plan = plan(&[("lookup", 0.9)]);
    plan.retriever.collections.insert("faq", vec![hit("guide.md", 7.0, 0.8)]);
    let world = World::start(plan).await;
    let options = QueryOptions { collections: vec!["docs".into(), "faq".into()], ..QueryOptions::default() };
    let passages = world.query(options).await.expect("an answer").passages;
    let found: Vec<_> = passages
        .iter()
        .map(|passage| (passage.collection.as_str(), passage.hit.as_ref().expect("a hit").document_id.as_str()))
        .collect();
    assert_eq!(found, [("docs", "guide.md"), ("docs", "faq.md")]);
    let twin = &passages[0].also_in[0];
    assert_eq!((twin.collection.as_str(), twin.document_id.as_str()), ("faq", "guide.md"));
}

#[tokio::test]
async fn the_policy_that_serves_is_told_as_it_was_read() {
    let world = World::start(plan(&[("lookup", 0.9)])).await;
    let told = world.router.clone().get_policy(GetPolicyRequest {}).await.expect("the policy").into_inner();
    assert_eq!((told.text.as_str(), told.default_collections), (ROUTES, vec!["docs".to_owned()]));
    let decision = world.route().await.expect("a decision").decision.expect("a decision");
    assert_eq!(told.policy_version, decision.policy_version);
}
