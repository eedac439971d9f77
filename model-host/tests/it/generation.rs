//! Answers of language models through the contract: what callers are told, and how.

use std::collections::BTreeMap;
use std::time::Duration;

use tonic::{Code, Status};
use trivium_model_host::OpenAiOptions;
use trivium_proto::model::v1 as proto;
use trivium_proto::model::v1::generate_response::Event;
use trivium_service_kit::{Error, Reason};

use crate::support::TinyModels;
use crate::support::completions::{Completions, Reply, events, status};
use crate::support::host::{Host, refusal};

const CITING: &str = r#"{"choices":[{"delta":{"content":"It is cold [1]. It weighs 7 kg [1] [8]."}}]}"#;
const FILTERED: &str = r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#;

/// A host with this server, whose prompts have little room, as its generator `local`.
async fn host(base_url: &str) -> Host {
    let generator = OpenAiOptions {
        base_url: base_url.to_owned(),
        model: "some-model".to_owned(),
        max_retries: 0,
        max_prompt_tokens: 500,
        ..OpenAiOptions::default()
    };
    Host::start_with(TinyModels::new(), |options| {
        options.generators = BTreeMap::from([("local".to_owned(), generator)]);
    })
    .await
}

fn request() -> proto::GenerateRequest {
    let passage =
        |number, text: String| proto::GenerationPassage { number, text, ..proto::GenerationPassage::default() };
    proto::GenerateRequest {
        query: "What is it like?".to_owned(),
        passages: vec![passage(1, "It is cold.".to_owned()), passage(8, "old ".repeat(1000))],
        generator: "local".to_owned(),
        ..proto::GenerateRequest::default()
    }
}

async fn ask(host: &mut Host, request: proto::GenerateRequest) -> Result<Vec<Event>, Status> {
    let mut stream = host.client.generate(request).await?.into_inner();
    let mut events = Vec::new();
    while let Some(response) = stream.message().await? {
        events.extend(response.event);
    }
    Ok(events)
}

#[tokio::test]
async fn what_became_of_citations_and_passages_is_told() {
    let server = Completions::always(Reply::then_closes(events(&[CITING, FILTERED]))).await;
    let found = ask(&mut host(&server.base_url).await, request()).await.unwrap();
    let text: String =
        found.iter().filter_map(|e| if let Event::Text(t) = e { Some(t.as_str()) } else { None }).collect();
    assert_eq!(text, "It is cold [1]. It weighs 7 kg [1].");
    let support: Vec<_> =
        found.iter().filter_map(|e| if let Event::Citation(c) = e { Some(c.support()) } else { None }).collect();
    assert_eq!(support, [proto::CitationSupport::Holds, proto::CitationSupport::Doubtful]);
    let Some(Event::Summary(summary)) = found.last() else { panic!("{found:?}") };
    assert_eq!(summary.finish_reason(), proto::FinishReason::Filtered);
    assert_eq!((&summary.unknown_citations[..], &summary.passages_left_out[..]), (&[8][..], &[8][..]));
}

#[tokio::test]
async fn an_unknown_prompt_is_refused_and_the_known_ones_are_named() {
    let server = Completions::always(Reply::then_closes(events(&[CITING, FILTERED]))).await;
    let mut host = host(&server.base_url).await;
    let unknown = proto::GenerateRequest { prompt: "suport".to_owned(), ..request() };
    let refused = ask(&mut host, unknown).await.unwrap_err();
    assert!(refused.message().contains("there are default"), "{refused}");
    assert_eq!(refusal(refused), (Code::NotFound, Reason::PromptNotFound, Some("prompt".to_owned())));
    assert!(server.requests().is_empty());
    let known = proto::GenerateRequest { prompt: "default".to_owned(), ..request() };
    assert!(ask(&mut host, known).await.is_ok());
}

#[tokio::test]
async fn a_query_without_room_is_the_callers_to_shorten() {
    let mut host = host("http://127.0.0.1:1/v1").await;
    let long = proto::GenerateRequest { query: "why ".repeat(1000), ..request() };
    let refused = refusal(ask(&mut host, long).await.unwrap_err());
    assert_eq!(refused, (Code::InvalidArgument, Reason::QueryTooLong, Some("query".to_owned())));
}

#[tokio::test]
async fn a_server_that_fails_is_named_with_what_it_did() {
    let limited = status("429 Too Many Requests", "retry-after: 3600\r\n", "");
    let server = Completions::always(Reply::then_closes(limited)).await;
    let error = Error::from(ask(&mut host(&server.base_url).await, request()).await.unwrap_err());
    assert_eq!((error.reason(), error.retry_after()), (Reason::GeneratorFailed, Some(Duration::from_secs(3600))));
    // A port that was just free: bound once and given back.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = Error::from(ask(&mut host(&format!("http://{free}/v1")).await, request()).await.unwrap_err());
    assert_eq!(error.reason(), Reason::GeneratorFailed);
    assert!(error.message().contains("local cannot be reached"), "{error}");
}
