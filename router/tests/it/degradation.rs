//! The ladder: what breaks below, and the answer that comes all the same, with its flags.

use trivium_proto::{
    retriever::v1::Leg,
    router::v1::{DecisionReason, Degradation, QueryOptions, QueryResponse, Road},
};
use trivium_service_kit::Reason;

use crate::{
    fake_model_host::{Analysis, Generation},
    fake_retriever::hit,
    world::{Plan, World},
};

const AWAY: Reason = Reason::ModelHostUnavailable;

/// A world in which the model gives this intent, and analyses go like this.
fn analysis(label: &str, analysis: Analysis) -> Plan {
    let mut plan = Plan::of_intent(label, 0.9);
    plan.model_host.analysis = analysis;
    plan
}

/// Each flag's part, reason and collection.
fn flags(response: &QueryResponse) -> Vec<(&str, &str, &str)> {
    let degraded = &response.account.as_ref().expect("an account").degraded;
    assert!(degraded.iter().all(|flag| !flag.detail.is_empty()), "{degraded:?}");
    degraded.iter().map(|Degradation { part, reason, collection, .. }| (&**part, &**reason, &**collection)).collect()
}

fn legs(world: &World) -> Vec<Vec<i32>> {
    let searched = world.retriever.searched.lock().expect("no test panics with it");
    searched.iter().map(|request| request.legs.clone()).collect()
}

fn road(road: Road) -> QueryOptions {
    QueryOptions { road: road.into(), ..QueryOptions::default() }
}

#[tokio::test]
async fn without_the_model_host_the_default_is_searched_by_words() {
    for reason in [AWAY, Reason::Overloaded, Reason::ShuttingDown, Reason::Internal, Reason::DeadlineExceeded] {
        let world = World::start(analysis("factual", Analysis::Fails(reason))).await;
        let response = world.query(QueryOptions::default()).await.expect("an answer");
        let decision = response.decision.clone().expect("a decision");
        assert_eq!((decision.road(), decision.reason()), (Road::Lexical, DecisionReason::IntentUnavailable));
        assert!(decision.intent.is_empty() && !decision.explanation.is_empty());
        assert_eq!(legs(&world), [[i32::from(Leg::Lexical)]]);
        assert_eq!(response.passages.len(), 2);
        assert_eq!(flags(&response), [("intent", reason.as_str(), ""), ("embedding", reason.as_str(), "")]);
    }
}

#[tokio::test]
async fn without_an_intent_model_the_default_keeps_both_its_legs() {
    let world = World::start(analysis("factual", Analysis::HasNoIntent)).await;
    let response = world.query(QueryOptions::default()).await.expect("an answer");
    let decision = response.decision.clone().expect("a decision");
    assert_eq!((decision.road(), decision.reason()), (Road::Hybrid, DecisionReason::IntentUnavailable));
    assert_eq!(flags(&response), [("intent", "NO_MODEL", "")]);
    let searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    assert_eq!(searched[0].vectors.len(), 1);
}

#[tokio::test]
async fn without_a_vector_the_retriever_encodes_the_query_and_nothing_is_left_out() {
    let world = World::start(analysis("factual", Analysis::GivesNoVector)).await;
    let response = world.query(QueryOptions::default()).await.expect("an answer");
    assert_eq!(response.decision.as_ref().expect("a decision").road(), Road::Semantic);
    assert_eq!(flags(&response), []);
    assert!(world.retriever.searched.lock().expect("no test panics with it")[0].vectors.is_empty());
}

#[tokio::test]
async fn a_bad_query_is_an_error_and_no_degradation() {
    let world = World::start(analysis("factual", Analysis::Fails(Reason::QueryTooLong))).await;
    assert_eq!(world.query(QueryOptions::default()).await.expect_err("too long").reason(), Reason::QueryTooLong);
}

#[tokio::test]
async fn a_forced_road_keeps_what_it_can() {
    let lexical = i32::from(Leg::Lexical);
    for (forced, expected) in [(Road::Hybrid, vec![("embedding", AWAY.as_str(), "")]), (Road::Lexical, vec![])] {
        let world = World::start(analysis("factual", Analysis::Fails(AWAY))).await;
        let response = world.query(road(forced)).await.expect("an answer");
        assert_eq!(flags(&response), expected, "{forced:?}");
        assert_eq!(response.decision.as_ref().expect("a decision").reason(), DecisionReason::Caller);
        assert_eq!(legs(&world), [[lexical]]);
    }
    let world = World::start(analysis("factual", Analysis::Fails(AWAY))).await;
    let error = world.query(road(Road::Semantic)).await.expect_err("it cannot be had");
    assert_eq!(error.reason(), AWAY);
    assert!(legs(&world).is_empty());
}

#[tokio::test]
async fn a_leg_that_the_retriever_leaves_out_is_flagged() {
    for (leg, part) in [(Leg::Semantic, "semantic_leg"), (Leg::Lexical, "lexical_leg")] {
        let mut plan = Plan::of_intent("how_to", 0.9);
        plan.retriever.broken_leg = Some((leg, Reason::DeadlineExceeded));
        let world = World::start(plan).await;
        let response = world.query(QueryOptions::default()).await.expect("an answer");
        assert_eq!(flags(&response), [(part, "DEADLINE_EXCEEDED", "docs")]);
        assert_eq!(response.passages.len(), 2);
        assert_eq!(legs(&world).len(), 1, "the retriever settles it by itself");
    }
}

#[tokio::test]
async fn a_road_of_one_leg_takes_the_other_where_the_policy_chose_it() {
    let (lexical, semantic) = (i32::from(Leg::Lexical), i32::from(Leg::Semantic));
    for (intent, leg, part, order) in [
        ("factual", Leg::Semantic, "semantic_leg", [[semantic], [lexical]]),
        ("lookup", Leg::Lexical, "lexical_leg", [[lexical], [semantic]]),
    ] {
        let mut plan = Plan::of_intent(intent, 0.9);
        plan.retriever.broken_leg = Some((leg, Reason::CollectionDamaged));
        let world = World::start(plan).await;
        let response = world.query(QueryOptions::default()).await.expect("an answer");
        assert_eq!(flags(&response), [(part, "COLLECTION_DAMAGED", "docs")]);
        assert_eq!(legs(&world), order);
    }
    let mut plan = Plan::default();
    plan.retriever.broken_leg = Some((Leg::Semantic, Reason::CollectionDamaged));
    let world = World::start(plan).await;
    let error = world.query(road(Road::Semantic)).await.expect_err("the caller chose the leg");
    assert_eq!((error.reason(), legs(&world).len()), (Reason::CollectionDamaged, 1));
}

const TWO: &str = r#"
version = 1
[default]
route = "hybrid"
collections = ["docs", "faq"]
"#;

#[tokio::test]
async fn one_of_several_collections_is_done_without() {
    for reason in [Reason::CollectionDamaged, Reason::CollectionNotFound, Reason::Overloaded] {
        let mut plan = Plan { routes: Some(TWO), ..Plan::default() };
        plan.retriever.collections.insert("faq", vec![hit("billing.md", 5.0, 0.7)]);
        plan.retriever.broken_collections.insert("docs", reason);
        let world = World::start(plan).await;
        let response = world.query(QueryOptions::default()).await.expect("an answer");
        assert_eq!(flags(&response), [("collection", reason.as_str(), "docs")]);
        let passages: Vec<_> = response.passages.iter().map(|passage| passage.collection.as_str()).collect();
        assert_eq!(passages, ["faq"]);
    }
}

#[tokio::test]
async fn where_no_collection_is_left_the_first_is_named() {
    let mut plan = Plan { routes: Some(TWO), ..Plan::default() };
    plan.retriever.collections.insert("faq", Vec::new());
    for name in ["docs", "faq"] {
        plan.retriever.broken_collections.insert(name, Reason::CollectionNotFound);
    }
    let world = World::start(plan).await;
    let error = world.query(QueryOptions::default()).await.expect_err("there is none");
    assert_eq!(error.reason(), Reason::CollectionNotFound);
}

const DIRECT: &str = r#"
version = 1
[default]
route = "hybrid"
on_retriever_away = "direct"
"#;

fn without_retriever(routes: Option<&'static str>, generation: Generation) -> Plan {
    let mut plan = Plan { routes, ..Plan::of_generation(generation) };
    plan.retriever.fails = Some(Reason::RetrieverUnavailable);
    plan
}

#[tokio::test]
async fn without_the_retriever_the_generator_answers_where_the_policy_allows_it() {
    let world = World::start(without_retriever(Some(DIRECT), Generation::Says(vec!["From memory."]))).await;
    let response = world.query(QueryOptions::default()).await.expect("an answer");
    assert_eq!((response.answer.as_str(), response.passages.len()), ("From memory.", 0));
    assert_eq!(flags(&response), [("retriever", "RETRIEVER_UNAVAILABLE", "")]);
}

#[tokio::test]
async fn without_the_retriever_the_query_fails_elsewhere() {
    let says = || Generation::Says(vec!["From memory."]);
    let none = QueryOptions { answer_mode: 1, ..QueryOptions::default() };
    for (plan, options) in [
        (without_retriever(None, says()), QueryOptions::default()),
        (without_retriever(Some(DIRECT), says()), road(Road::Hybrid)),
        (without_retriever(Some(DIRECT), says()), none),
        (without_retriever(Some(DIRECT), Generation::Fails(Reason::NoGenerator)), QueryOptions::default()),
    ] {
        let world = World::start(plan).await;
        let error = world.query(options).await.expect_err("no passages");
        assert_eq!(error.reason(), Reason::RetrieverUnavailable);
    }
}

#[tokio::test]
async fn everything_that_is_lost_is_flagged() {
    let mut plan = analysis("factual", Analysis::Fails(AWAY));
    plan.model_host.generation = Generation::Fails(AWAY);
    let world = World::start(plan).await;
    let response = world.query(QueryOptions::default()).await.expect("passages");
    assert_eq!((response.answer.as_str(), response.passages.len()), ("", 2));
    let parts: Vec<_> = flags(&response).into_iter().map(|(part, ..)| part).collect();
    assert_eq!(parts, ["intent", "embedding", "generator"]);
}

#[tokio::test]
async fn a_decision_alone_is_not_made_up() {
    let world = World::start(analysis("factual", Analysis::Fails(AWAY))).await;
    assert_eq!(world.route().await.expect_err("no intent").reason(), AWAY);
}
