//! Answers, their provenance, and what happens when the generator cannot be had.

use trivium_proto::{
    model::v1::{CitationSupport, FinishReason},
    router::v1::{AnswerMode, QueryOptions, QueryResponse, Road, query_stream_response::Event},
};
use trivium_service_kit::Reason;

use crate::{
    fake_model_host::Generation,
    world::{Plan, World},
};

const FALLBACK: &str = r#"
version = 1
[intents.text_task]
route = "direct"
reply = "I have no generator for that."
"#;

fn generations(world: &World) -> usize {
    world.model_host.generated.lock().expect("no test panics with it").len()
}

#[tokio::test]
async fn an_answer_carries_its_whole_provenance() {
    let world = World::start(Plan::default()).await;
    let response = world.query(QueryOptions::default()).await.expect("an answer");
    assert_eq!(response.answer, "It is here [1].");
    assert_eq!(response.citations.len(), 1);
    let passages: Vec<_> =
        response.passages.iter().map(|passage| (passage.number, passage.collection.as_str())).collect();
    assert_eq!(passages, [(1, "docs"), (2, "docs")]);
    let account = response.account.expect("an account");
    assert_eq!((account.snapshots[0].collection.as_str(), account.snapshots[0].version), ("docs", 7));
    let parts: Vec<_> = account
        .models
        .iter()
        .map(|part| (part.role.as_str(), part.model.as_ref().expect("a model").name.as_str()))
        .collect();
    assert_eq!(parts, [("intent", "intents"), ("embedder", "minilm"), ("generator", "minilm")]);
    let hops = ["analyze", "queue", "tokenize", "forward", "retrieve", "lexical", "semantic", "generate", "total"];
    for hop in hops {
        assert!(account.timings_ms.contains_key(hop), "{hop}");
    }
    assert_eq!(account.timings_ms["lexical"], 1.5);
    assert_eq!((account.generator.as_str(), account.finish_reason()), ("extractive", FinishReason::Stop));
    assert_eq!(account.usage.map(|usage| usage.output_tokens), Some(3));
    assert_eq!(response.citations[0].support(), CitationSupport::Holds);
    assert_eq!((&account.unknown_citations[..], &account.passages_left_out[..]), (&[9][..], &[2][..]));
    assert_eq!(account.passages_cut, [1]);
    assert!(account.degraded.is_empty() && !account.request_id.is_empty());
}

#[tokio::test]
async fn the_generator_is_given_the_prompt_of_the_route() {
    const PROMPTS: &str = r#"
version = 1
[default]
prompt = "plain"
[intents.how_to]
route = "lexical"
prompt = "steps"
[intents.lookup]
route = "lexical"
[intents.text_task]
route = "direct"
prompt = "task"
"#;
    for (intent, prompt) in [("how_to", "steps"), ("lookup", "plain"), ("text_task", "task"), ("factual", "plain")] {
        let world = World::start(Plan { routes: Some(PROMPTS), ..Plan::of_intent(intent, 0.9) }).await;
        world.query(QueryOptions::default()).await.expect("an answer");
        let generated = world.model_host.generated.lock().expect("no test panics with it").clone();
        assert_eq!(generated[0].prompt, prompt, "{intent}");
    }
}

#[tokio::test]
async fn the_generator_is_given_the_numbered_passages() {
    let world = World::start(Plan::default()).await;
    let options = QueryOptions { generator: "remote".into(), ..QueryOptions::default() };
    world.query(options).await.expect("an answer");
    let generated = world.model_host.generated.lock().expect("no test panics with it").clone();
    assert_eq!(generated[0].generator, "remote");
    let passages: Vec<_> =
        generated[0].passages.iter().map(|passage| (passage.number, passage.document_id.as_str())).collect();
    assert_eq!(passages, [(1, "guide.md"), (2, "faq.md")]);
    assert_eq!(generated[0].passages[0].text, "It is here, in guide.md.");
}

#[tokio::test]
async fn a_stream_has_the_same_events_in_the_promised_order() {
    let world = World::start(Plan::default()).await;
    let whole = world.query(QueryOptions::default()).await.expect("an answer");
    let (events, error) = world.events(QueryOptions::default()).await;
    assert_eq!(error, None);
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| match event {
            Event::Decision(_) => "decision",
            Event::Passages(_) => "passages",
            Event::Text(_) => "text",
            Event::Citation(_) => "citation",
            Event::Account(_) => "account",
        })
        .collect();
    assert_eq!(kinds, ["decision", "passages", "text", "text", "citation", "account"]);
    let mut folded = QueryResponse::default();
    for event in events {
        match event {
            Event::Decision(decision) => folded.decision = Some(decision),
            Event::Passages(list) => folded.passages = list.passages,
            Event::Text(text) => folded.answer.push_str(&text),
            Event::Citation(citation) => folded.citations.push(citation),
            Event::Account(_) => {}
        }
    }
    assert_eq!(QueryResponse { account: None, ..whole }, folded);
}

#[tokio::test]
async fn mode_none_gives_passages_and_asks_no_generator() {
    for (label, passages) in [("how_to", 2), ("text_task", 0), ("small_talk", 0)] {
        let world = World::start(Plan::of_intent(label, 0.9)).await;
        let options = QueryOptions { answer_mode: AnswerMode::None.into(), ..QueryOptions::default() };
        let response = world.query(options).await.expect("passages");
        assert_eq!((response.answer.as_str(), response.passages.len()), ("", passages), "{label}");
        assert_eq!(generations(&world), 0, "{label}");
    }
}

#[tokio::test]
async fn a_reply_is_the_policys_text() {
    let world = World::start(Plan::of_intent("small_talk", 0.9)).await;
    let response = world.query(QueryOptions::default()).await.expect("a reply");
    assert_eq!(response.answer, "Hello!");
    assert_eq!((response.passages.len(), generations(&world)), (0, 0));
    let account = response.account.expect("an account");
    assert_eq!((account.generator.as_str(), account.finish_reason()), ("", FinishReason::Stop));
}

#[tokio::test]
async fn the_direct_road_sends_no_passages() {
    let world = World::start(Plan::of_intent("text_task", 0.9)).await;
    let response = world.query(QueryOptions::default()).await.expect("an answer");
    assert_eq!((response.answer.as_str(), response.passages.len()), ("It is here [1].", 0));
    assert!(world.model_host.generated.lock().expect("no test panics with it")[0].passages.is_empty());
}

#[tokio::test]
async fn the_direct_road_without_a_generator_says_so() {
    let mut plan = Plan::of_generation(Generation::Fails(Reason::NoGenerator));
    plan.model_host.intent = crate::fake_model_host::intent("text_task", 0.9);
    let world = World::start(plan).await;
    let error = world.query(QueryOptions::default()).await.expect_err("no generator");
    assert_eq!(error.reason(), Reason::NoGenerator);
    let (events, error) = world.events(QueryOptions::default()).await;
    assert!(matches!(events.as_slice(), [Event::Decision(decision)] if decision.road() == Road::Direct));
    assert_eq!(error.map(|error| error.reason()), Some(Reason::NoGenerator));
}

#[tokio::test]
async fn a_fixed_text_stands_in_for_a_missing_generator_and_is_flagged() {
    let mut plan = Plan::of_generation(Generation::Fails(Reason::NoGenerator));
    plan.model_host.intent = crate::fake_model_host::intent("text_task", 0.9);
    plan.routes = Some(FALLBACK);
    let world = World::start(plan).await;
    let response = world.query(QueryOptions::default()).await.expect("the fixed text");
    assert_eq!(response.answer, "I have no generator for that.");
    let degraded = response.account.expect("an account").degraded;
    assert_eq!((degraded[0].part.as_str(), degraded[0].reason.as_str()), ("generator", "NO_GENERATOR"));
}

#[tokio::test]
async fn a_generator_that_fails_leaves_the_passages_and_is_flagged() {
    let reasons = [Reason::GeneratorFailed, Reason::Overloaded, Reason::ModelHostUnavailable, Reason::ShuttingDown];
    for reason in reasons {
        let world = World::start(Plan::of_generation(Generation::Fails(reason))).await;
        let response = world.query(QueryOptions::default()).await.expect("passages");
        assert_eq!((response.answer.as_str(), response.passages.len()), ("", 2));
        let degraded = response.account.expect("an account").degraded;
        assert_eq!(degraded.len(), 1);
        assert_eq!((degraded[0].part.as_str(), degraded[0].reason.as_str()), ("generator", reason.as_str()));
        assert_eq!(degraded[0].detail, "the passages stand without an answer");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_flagged() {
    let generation = Generation::BreaksOff("It is ", Reason::GeneratorFailed);
    let world = World::start(Plan::of_generation(generation)).await;
    let response = world.query(QueryOptions::default()).await.expect("passages");
    assert_eq!(response.answer, "It is ");
    let degraded = response.account.expect("an account").degraded;
    assert_eq!(degraded[0].detail, "the answer breaks off; what was sent before it is complete");
}

#[tokio::test]
async fn a_generator_that_does_not_exist_is_an_error_and_no_degradation() {
    let world = World::start(Plan::of_generation(Generation::Fails(Reason::GeneratorNotFound))).await;
    let error = world.query(QueryOptions::default()).await.expect_err("no such generator");
    assert_eq!(error.reason(), Reason::GeneratorNotFound);
}

#[tokio::test]
async fn without_passages_no_generator_is_asked_and_the_answer_says_so() {
    let mut plan = Plan::default();
    plan.retriever.collections.insert("docs", Vec::new());
    let world = World::start(plan).await;
    let response = world.query(QueryOptions::default()).await.expect("an honest answer");
    assert_eq!(response.answer, "I found no passage about this in the collection docs.");
    assert_eq!(generations(&world), 0);
    assert_eq!(response.account.expect("an account").finish_reason(), FinishReason::NotInPassages);
}
