//! Answers that are given again, and when they are not.

use std::sync::atomic::Ordering;

use trivium_proto::router::v1::{
    Account, CacheMode, QueryOptions, QueryRequest, QueryResponse, Road, query_stream_response::Event,
};
use trivium_router::CacheOptions;
use trivium_service_kit::Reason;

use crate::{
    fake_model_host::Generation,
    world::{Plan, World},
};

fn cached(plan: Plan) -> Plan {
    Plan { cache: CacheOptions { enabled: true, ..CacheOptions::default() }, ..plan }
}

async fn ask(world: &World, query: &str, options: QueryOptions) -> QueryResponse {
    let request = QueryRequest { query: query.into(), options: Some(options), ..QueryRequest::default() };
    world.router.clone().query(request).await.expect("an answer").into_inner()
}

async fn is_cached(world: &World, query: &str, options: QueryOptions) -> bool {
    account(&ask(world, query, options).await).cached
}

fn account(response: &QueryResponse) -> &Account {
    response.account.as_ref().expect("an account")
}

/// An answer without what belongs to its request alone.
fn timeless(mut response: QueryResponse) -> QueryResponse {
    let account = response.account.as_mut().expect("an account");
    *account = Account {
        timings_ms: Default::default(),
        trace_id: String::new(),
        request_id: String::new(),
        cached: false,
        cached_age_ms: 0.0,
        ..account.clone()
    };
    response
}

fn searches(world: &World) -> usize {
    world.retriever.searched.lock().expect("no test panics with it").len()
}

#[tokio::test]
async fn a_hit_is_what_a_fresh_run_gives() {
    let world = World::start(cached(Plan::default())).await;
    let none = QueryOptions::default;
    let first = ask(&world, "where is it?", none()).await;
    let hit = ask(&world, "where is it?", none()).await;
    assert_eq!((account(&first).cached, account(&hit).cached, searches(&world)), (false, true, 1));
    assert_ne!(account(&first).request_id, account(&hit).request_id);
    let keys: Vec<&str> = account(&hit).timings_ms.keys().map(String::as_str).collect();
    assert!(keys.len() == 2 && keys.contains(&"cache") && keys.contains(&"total"), "{keys:?}");
    let bypass = QueryOptions { cache: CacheMode::Bypass.into(), ..none() };
    let fresh = ask(&world, "where is it?", bypass).await;
    assert_eq!((account(&fresh).cached, searches(&world)), (false, 2));
    assert_eq!(timeless(hit), timeless(fresh));
}

#[tokio::test]
async fn a_stream_gives_the_events_of_the_answer_in_their_order() {
    let world = World::start(cached(Plan::default())).await;
    let (fresh, _) = world.events(QueryOptions::default()).await;
    let (again, error) = world.events(QueryOptions::default()).await;
    assert_eq!(error, None);
    assert_eq!(fresh[..fresh.len() - 1], again[..again.len() - 1]);
    assert!(matches!(again.last(), Some(Event::Account(account)) if account.cached));
}

#[tokio::test]
async fn whatever_the_answer_depends_on_makes_it_anew() {
    let world = World::start(cached(Plan::default())).await;
    let none = QueryOptions::default;
    assert!(!is_cached(&world, "where is it?", none()).await);
    for other in [
        QueryOptions { k: Some(1), ..none() },
        QueryOptions { filter: "a = 1".into(), ..none() },
        QueryOptions { road: Road::Lexical.into(), ..none() },
    ] {
        assert!(!is_cached(&world, "where is it?", other.clone()).await, "{other:?}");
        assert!(is_cached(&world, "where is it?", other).await);
    }
    assert!(!is_cached(&world, "Where is it?", none()).await);
    assert!(is_cached(&world, " where  is\tit? ", none()).await);

    world.retriever.version.fetch_add(1, Ordering::SeqCst);
    let after_write = ask(&world, "where is it?", none()).await;
    assert_eq!((account(&after_write).cached, account(&after_write).snapshots[0].version), (false, 8));
    assert!(is_cached(&world, "where is it?", none()).await);
    world.model_host.intents_version.fetch_add(1, Ordering::SeqCst);
    assert!(!is_cached(&world, "where is it?", none()).await);
    assert!(is_cached(&world, "where is it?", none()).await);
}

#[tokio::test]
async fn an_earlier_state_and_a_version_to_come_pass_it_by() {
    let world = World::start(cached(Plan::default())).await;
    let none = QueryOptions::default;
    assert!(!is_cached(&world, "where is it?", none()).await);
    let least = |version| QueryOptions { min_versions: [("docs".to_owned(), version)].into(), ..none() };
    assert!(is_cached(&world, "where is it?", least(7)).await);
    assert!(!is_cached(&world, "where is it?", least(8)).await);
    let state = Some(trivium_proto::retriever::v1::as_of::State::Version(7));
    let as_of = QueryOptions { as_of: Some(trivium_proto::retriever::v1::AsOf { state }), ..none() };
    assert!(!is_cached(&world, "where is it?", as_of.clone()).await);
    assert!(!is_cached(&world, "where is it?", as_of).await);
}

#[tokio::test]
async fn what_is_not_whole_is_not_kept() {
    let plan = Plan::of_generation(Generation::Fails(Reason::GeneratorFailed));
    let world = World::start(cached(plan)).await;
    for _ in 0..2 {
        let answer = ask(&world, "where is it?", QueryOptions::default()).await;
        assert!(!account(&answer).cached && !account(&answer).degraded.is_empty());
    }
    let plan = Plan::of_generation(Generation::BreaksOff("It", Reason::Internal));
    let world = World::start(cached(plan)).await;
    for round in 1..=2 {
        let answer = world.query(QueryOptions::default()).await.expect("it breaks off");
        assert!(!account(&answer).degraded.is_empty());
        assert_eq!(searches(&world), round);
    }
}

#[tokio::test]
async fn it_is_off_unless_asked_for() {
    let world = World::start(Plan::default()).await;
    assert!(!is_cached(&world, "where is it?", QueryOptions::default()).await);
    assert!(!is_cached(&world, "where is it?", QueryOptions::default()).await);
    assert_eq!(searches(&world), 2);
}

#[tokio::test]
async fn white_space_counts_where_it_is_said_to() {
    let cache = CacheOptions { enabled: true, ignore_white_space: false, ..CacheOptions::default() };
    let world = World::start(Plan { cache, ..Plan::default() }).await;
    assert!(!is_cached(&world, "where is it?", QueryOptions::default()).await);
    assert!(!is_cached(&world, "where  is it?", QueryOptions::default()).await);
    assert!(is_cached(&world, "where is it?", QueryOptions::default()).await);
}

/// Queries, writes and promotions in an order that nobody chose.
#[tokio::test]
async fn whatever_happens_a_cached_answer_is_a_fresh_one() {
    let world = World::start(cached(Plan::default())).await;
    let (mut state, mut hits) = (0x2545_f491_u64, 0);
    let mut random = |below: u64| {
        // Knuth's MMIX generator; its high bits are the good ones.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for step in 0..300 {
        match random(10) {
            0 => drop(world.retriever.version.fetch_add(1, Ordering::SeqCst)),
            1 => drop(world.model_host.intents_version.fetch_add(1, Ordering::SeqCst)),
            _ => {
                let query = ["where is it?", "where  is it? ", "where is that?"][random(3) as usize];
                let options = QueryOptions {
                    k: [None, Some(1)][random(2) as usize],
                    road: [Road::Unspecified, Road::Lexical, Road::Direct][random(3) as usize].into(),
                    ..QueryOptions::default()
                };
                let bypass = QueryOptions { cache: CacheMode::Bypass.into(), ..options.clone() };
                let given = ask(&world, query, options).await;
                hits += u32::from(account(&given).cached);
                assert_eq!(timeless(given), timeless(ask(&world, query, bypass).await), "step {step}");
            }
        }
    }
    assert!(hits > 50, "{hits} of them came from the cache");
}

#[tokio::test]
async fn white_space_that_a_guard_looks_at_tells_queries_apart() {
    let routes = "version = 1\n[[guards]]\nname = \"gaps\"\nregex = \"  \"\nroute = \"lexical\"\n";
    let world = World::start(cached(Plan { routes: Some(routes), ..Plan::default() })).await;
    let none = QueryOptions::default;
    assert!(!is_cached(&world, "where is it?", none()).await);
    let guarded = ask(&world, "where  is it?", none()).await;
    let road = guarded.decision.as_ref().expect("a decision").road();
    assert_eq!((account(&guarded).cached, road), (false, Road::Lexical));
    assert!(!is_cached(&world, " where  is it?", none()).await, "what a guard decided is for its own letters");
    assert!(is_cached(&world, "where  is it?", none()).await);
    assert!(is_cached(&world, " where is it?", none()).await);
}
