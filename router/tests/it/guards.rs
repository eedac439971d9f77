//! Guards: roads that the query itself settles, and what the hops below are spared.

use trivium_proto::router::v1::{DecisionReason, QueryOptions, Road, RouteRequest};

use crate::world::{Plan, World};

const ROUTES: &str = r#"
version = 1
[[guards]]
name = "codes"
identifier = true
route = "lexical"
[[guards]]
name = "phrases"
quoted = true
route = "hybrid"
fusion = { weights = { lexical = 3, semantic = 1 } }
[[guards]]
name = "greetings"
regex = "(?i)^(hello|hi)[.! ]*$"
route = "reply"
reply = "Hello!"
[[guards]]
name = "german"
language = ["de"]
route = "semantic"
collections = ["docs"]
[intents.how_to]
route = "hybrid"
"#;

async fn world() -> World {
    World::start(Plan { routes: Some(ROUTES), ..Plan::of_intent("how_to", 0.9) }).await
}

#[tokio::test]
async fn the_first_guard_that_matches_decides_and_the_intent_is_not_asked_for() {
    let table = [
        // query, road, guard, calls to Analyze: each for the vector alone
        ("why ERR_CONN_RESET", Road::Lexical, "codes", 0),
        (r#"where is "ERR_CONN_RESET by peer""#, Road::Lexical, "codes", 0),
        (r#"who says "reset by peer""#, Road::Hybrid, "phrases", 1),
        ("Hello!", Road::Reply, "greetings", 0),
        ("Wie kann ich mein vergessenes Kennwort für den Zugang zurücksetzen?", Road::Semantic, "german", 1),
    ];
    for (query, road, guard, calls) in table {
        let world = world().await;
        let response = world.ask(query, QueryOptions::default()).await.expect(query);
        let decision = response.decision.expect("every answer has its decision");
        assert_eq!((decision.road(), decision.reason()), (road, DecisionReason::Guard), "{query}");
        assert_eq!((decision.intent.as_str(), decision.threshold), ("", 0.0), "{query}");
        let (last, before) = decision.guards.split_last().expect("the guards that were looked at");
        assert_eq!((last.name.as_str(), last.matched), (guard, true), "{query}");
        assert!(before.iter().all(|check| !check.matched), "{query}");
        assert!(decision.explanation.starts_with(&format!("guard {guard}")), "{}", decision.explanation);
        let analyzed = world.model_host.analyzed.lock().expect("no test panics with it").clone();
        assert_eq!(analyzed.len(), calls, "{query}");
        assert!(analyzed.iter().all(|request| request.vector && !request.intent), "{query}");
    }
}

#[tokio::test]
async fn a_decision_alone_needs_no_hop_when_a_guard_matches() {
    let world = world().await;
    let request = RouteRequest { query: "why ERR_CONN_RESET".into(), ..RouteRequest::default() };
    let response = world.router.clone().route(request).await.expect("a decision").into_inner();
    assert_eq!(response.decision.expect("a decision").reason(), DecisionReason::Guard);
    assert!(world.model_host.analyzed.lock().expect("no test panics with it").is_empty());
}

#[tokio::test]
async fn guards_that_do_not_match_leave_it_to_the_intent_and_are_told() {
    let world = world().await;
    let decision = world.ask("how do I reset it?", QueryOptions::default()).await.expect("an answer").decision;
    let decision = decision.expect("a decision");
    assert_eq!((decision.road(), decision.reason()), (Road::Hybrid, DecisionReason::Intent));
    let names: Vec<_> = decision.guards.iter().map(|check| (check.name.as_str(), check.matched)).collect();
    assert_eq!(names, [("codes", false), ("phrases", false), ("greetings", false), ("german", false)]);
}

#[tokio::test]
async fn a_callers_road_goes_before_every_guard() {
    let world = world().await;
    let options = QueryOptions { road: Road::Semantic.into(), ..QueryOptions::default() };
    let decision = world.ask("why ERR_CONN_RESET", options).await.expect("an answer").decision.expect("a decision");
    assert_eq!((decision.road(), decision.reason()), (Road::Semantic, DecisionReason::Caller));
    assert!(decision.guards.is_empty());
}
