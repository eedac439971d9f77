//! Which road a query takes, and what the hops below are asked for on it.

use trivium_proto::{
    retriever::v1::{Leg, Rerank, RerankMethod, fusion::Method},
    router::v1::{DecisionReason, QueryOptions, Road},
};

use crate::world::{Plan, World};

fn legs(world: &World) -> Vec<Vec<Leg>> {
    let searched = world.retriever.searched.lock().expect("no test panics with it");
    searched
        .iter()
        .map(|request| request.legs.iter().map(|leg| Leg::try_from(*leg).expect("a leg")).collect())
        .collect()
}

/// An intent, its confidence, and what must follow: the road, the reason, and the legs of each search.
type Row = (&'static str, f64, Road, DecisionReason, Vec<Vec<Leg>>);

#[tokio::test]
async fn each_intent_takes_its_road() {
    let (lexical, semantic) = (Leg::Lexical, Leg::Semantic);
    let table: [Row; 8] = [
        ("lookup", 0.9, Road::Lexical, DecisionReason::Intent, vec![vec![lexical]]),
        ("factual", 0.9, Road::Semantic, DecisionReason::Intent, vec![vec![semantic]]),
        ("how_to", 0.9, Road::Hybrid, DecisionReason::Intent, vec![vec![lexical, semantic]]),
        ("text_task", 0.9, Road::Direct, DecisionReason::Intent, vec![]),
        ("small_talk", 0.9, Road::Reply, DecisionReason::Intent, vec![]),
        ("lookup", 0.3, Road::Hybrid, DecisionReason::LowConfidence, vec![vec![lexical, semantic]]),
        ("out_of_scope", 0.9, Road::Reply, DecisionReason::OutOfScope, vec![]),
        ("brand_new", 0.9, Road::Hybrid, DecisionReason::UnmappedIntent, vec![vec![lexical, semantic]]),
    ];
    for (label, confidence, road, reason, expected_legs) in table {
        let world = World::start(Plan::of_intent(label, confidence)).await;
        let response = world.query(QueryOptions::default()).await.expect(label);
        let decision = response.decision.expect("every answer has its decision");
        assert_eq!((decision.road(), decision.reason()), (road, reason), "{label}");
        assert_eq!((decision.intent.as_str(), decision.confidence), (label, confidence));
        assert_eq!((decision.threshold, decision.policy_version.len()), (0.5, 16), "{label}");
        assert_eq!(decision.runners_up.len(), 1);
        assert!(!decision.explanation.is_empty());
        assert_eq!(legs(&world), expected_legs, "{label}");
        let searches = !expected_legs.is_empty();
        assert_eq!(decision.collections.len(), usize::from(searches), "{label}");
        assert_eq!(decision.k, if searches { 4 } else { 0 }, "{label}");
    }
}

#[tokio::test]
async fn intent_and_vector_come_from_one_call_and_the_vector_is_handed_on() {
    let world = World::start(Plan::of_intent("factual", 0.9)).await;
    world.query(QueryOptions::default()).await.expect("an answer");
    let analyzed = world.model_host.analyzed.lock().expect("no test panics with it").clone();
    assert_eq!(analyzed.len(), 1);
    assert!(analyzed[0].intent && analyzed[0].vector);
    let searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    assert_eq!(searched[0].vectors.len(), 1);
    assert_eq!(searched[0].vectors[0].values, [0.6, 0.8]);
}

#[tokio::test]
async fn a_lexical_search_is_sent_no_vector() {
    let world = World::start(Plan::of_intent("lookup", 0.9)).await;
    world.query(QueryOptions::default()).await.expect("an answer");
    assert!(world.retriever.searched.lock().expect("no test panics with it")[0].vectors.is_empty());
}

#[tokio::test]
async fn the_policys_fusion_is_handed_on() {
    let world = World::start(Plan::of_intent("how_to", 0.9)).await;
    world.query(QueryOptions::default()).await.expect("an answer");
    let fusion = world.retriever.searched.lock().expect("no test panics with it")[0].fusion.expect("the policy's");
    assert!(matches!(fusion.method, Some(Method::ReciprocalRank(rrf)) if rrf.k == 30.0));
    assert_eq!(fusion.weights.map(|weights| (weights.lexical, weights.semantic)), Some((1.0, 2.0)));
}

#[tokio::test]
async fn the_policys_second_stage_is_handed_on_and_the_callers_goes_before_it() {
    let world = World::start(Plan::of_intent("how_to", 0.9)).await;
    let own = Rerank { method: RerankMethod::None.into(), ..Rerank::default() };
    world.query(QueryOptions::default()).await.expect("an answer");
    world.query(QueryOptions { rerank: Some(own), ..QueryOptions::default() }).await.expect("an answer");
    let searched = world.retriever.searched.lock().expect("no test panics with it");
    let of_policy = Rerank { method: RerankMethod::CrossEncoder.into(), depth: Some(9), weight: None };
    assert_eq!(searched.iter().map(|search| search.rerank).collect::<Vec<_>>(), [Some(of_policy), Some(own)]);
}

#[tokio::test]
async fn a_caller_who_chooses_the_road_spares_the_intent_model() {
    let table = [
        // road, calls to Analyze, of which for vectors
        (Road::Lexical, 0, 0),
        (Road::Semantic, 1, 1),
        (Road::Hybrid, 1, 1),
        (Road::Direct, 0, 0),
    ];
    for (road, calls, vectors) in table {
        let world = World::start(Plan::default()).await;
        let options = QueryOptions { road: road.into(), ..QueryOptions::default() };
        let decision = world.query(options).await.expect("an answer").decision.expect("a decision");
        assert_eq!((decision.road(), decision.reason()), (road, DecisionReason::Caller));
        assert!(decision.intent.is_empty());
        let analyzed = world.model_host.analyzed.lock().expect("no test panics with it").clone();
        assert!(analyzed.iter().all(|request| !request.intent), "{road:?}");
        assert_eq!(analyzed.len(), calls, "{road:?}");
        assert_eq!(analyzed.iter().filter(|request| request.vector).count(), vectors, "{road:?}");
    }
}

#[tokio::test]
async fn wishes_beyond_the_road_are_kept() {
    let mut plan = Plan::of_intent("lookup", 0.9);
    plan.retriever.collections.insert("mine", Vec::new());
    let world = World::start(plan).await;
    let options = QueryOptions { collections: vec!["mine".into()], k: Some(2), ..QueryOptions::default() };
    let decision = world.query(options).await.expect("an answer").decision.expect("a decision");
    assert_eq!((decision.collections, decision.k), (vec!["mine".to_owned()], 2));
    let searched = world.retriever.searched.lock().expect("no test panics with it").clone();
    assert_eq!((searched[0].collection.as_str(), searched[0].k), ("mine", Some(2)));
}

#[tokio::test]
async fn route_asks_for_the_intent_alone_and_goes_nowhere() {
    let world = World::start(Plan::of_intent("lookup", 0.9)).await;
    let response = world.route().await.expect("a decision");
    let decision = response.decision.expect("a decision");
    assert_eq!((decision.road(), decision.reason()), (Road::Lexical, DecisionReason::Intent));
    assert_eq!(decision.explanation, "lookup at 0.90, above 0.50: lexical");
    let roles: Vec<_> = response.models.iter().map(|part| part.role.as_str()).collect();
    assert_eq!(roles, ["intent"]);
    for hop in ["analyze", "queue", "tokenize", "forward", "total"] {
        assert!(response.timings_ms.contains_key(hop), "{hop}");
    }
    assert!(!response.request_id.is_empty());
    let analyzed = world.model_host.analyzed.lock().expect("no test panics with it").clone();
    assert!(analyzed[0].intent && !analyzed[0].vector);
    assert!(world.retriever.searched.lock().expect("no test panics with it").is_empty());
}
