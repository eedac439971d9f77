//! The backend for OpenAI-compatible servers, against a server on loopback.

use std::time::Duration;

use futures::StreamExt;
use trivium_model_host::OpenAiOptions;
use trivium_model_host::generate::{Finish, GenerateError, Generator, OpenAi, Passage, Piece, Request, Summary};

use crate::support::completions::{Completions, events, status};

fn options(base_url: &str) -> OpenAiOptions {
    OpenAiOptions { base_url: base_url.to_owned(), model: "some-model".to_owned(), ..OpenAiOptions::default() }
}

fn request() -> Request {
    let passage = |number, text: &str| Passage { number, title: String::new(), text: text.to_owned() };
    Request {
        query: "Why is it slow?".to_owned(),
        passages: vec![passage(1, "It is cold."), passage(2, "It is old.")],
        max_output_tokens: Some(50),
        deadline: None,
        span: tracing::Span::none(),
    }
}

async fn ask(options: OpenAiOptions) -> Vec<Result<Piece, GenerateError>> {
    OpenAi::new("local", options).unwrap().generate(request()).collect().await
}

async fn only_error(response: String) -> GenerateError {
    let server = Completions::start(response, false).await;
    let mut pieces = ask(options(&server.base_url)).await;
    let error = pieces.pop().expect("a stream that fails says why").expect_err("it ends with the error");
    assert!(pieces.iter().all(Result::is_ok));
    error
}

const FIRST: &str = r#"{"choices":[{"delta":{"role":"assistant","content":"It is cold [1"}}]}"#;
const SECOND: &str = r#"{"choices":[{"delta":{"content":"]. It is blue [7]."}}]}"#;
const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":9}}"#;

#[tokio::test]
async fn an_answer_streams_with_checked_citations() {
    let server = Completions::start(events(&[FIRST, SECOND, STOP, USAGE, "[DONE]"]), false).await;
    let pieces: Vec<Piece> = ask(options(&server.base_url)).await.into_iter().map(Result::unwrap).collect();
    let text: String =
        pieces.iter().filter_map(|p| if let Piece::Text(t) = p { Some(t.as_str()) } else { None }).collect();
    assert_eq!(text, "It is cold [1]. It is blue .");
    let cited: Vec<u32> =
        pieces.iter().filter_map(|p| if let Piece::Citation(c) = p { Some(c.passage) } else { None }).collect();
    assert_eq!(cited, [1]);
    let summary = Summary { finish: Finish::Stop, input_tokens: 40, output_tokens: 9 };
    assert_eq!(pieces.last(), Some(&Piece::Summary(summary)));
}

#[tokio::test]
async fn the_request_holds_numbered_passages_the_limit_and_the_key() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "abc123\n").unwrap();
    let server = Completions::start(events(&[STOP, "[DONE]"]), false).await;
    ask(OpenAiOptions { api_key_file: Some(key), ..options(&server.base_url) }).await;
    let requests = server.requests();
    let (head, body) = requests[0].split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/chat/completions "), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer abc123"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(
        (&body["model"], &body["max_tokens"], &body["stream"]),
        (&"some-model".into(), &50.into(), &true.into())
    );
    let user = body["messages"][1]["content"].as_str().unwrap();
    assert!(user.contains("[1]\nIt is cold.") && user.contains("[2]\nIt is old."), "{user}");
}

#[tokio::test]
async fn a_server_that_limits_its_callers_is_a_typed_error() {
    let limited = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let error = only_error(limited.to_owned()).await;
    let expected = Some(Duration::from_secs(7));
    assert!(matches!(error, GenerateError::RateLimited { retry_after, .. } if retry_after == expected), "{error}");
}

#[tokio::test]
async fn a_server_that_fails_is_a_typed_error() {
    for (line, expected) in [("500 Internal Server Error", 500), ("401 Unauthorized", 401)] {
        let error = only_error(status(line)).await;
        assert!(matches!(error, GenerateError::Status { status, .. } if status == expected), "{error}");
    }
}

#[tokio::test]
async fn an_event_that_is_not_json_is_a_typed_error() {
    let error = only_error(events(&[FIRST, r#"{"choices": secret"#])).await;
    assert!(matches!(error, GenerateError::Malformed { .. }), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test]
async fn a_stream_that_is_cut_is_a_typed_error() {
    let unannounced = events(&[FIRST, SECOND]);
    let in_a_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\ndata: {\"choices\":";
    for response in [unannounced, in_a_chunk.to_owned()] {
        let error = only_error(response).await;
        assert!(matches!(error, GenerateError::Cut { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_silent_server_is_a_typed_error() {
    let server = Completions::start(events(&[FIRST]), true).await;
    let impatient = OpenAiOptions { idle_timeout_ms: 50, ..options(&server.base_url) };
    let last = ask(impatient).await.pop().unwrap();
    assert!(matches!(last, Err(GenerateError::Silent { .. })), "{last:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_typed_error() {
    // A port that was just free: bound once and given back.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let last = ask(options(&format!("http://{free}/v1"))).await.pop().unwrap();
    assert!(matches!(last, Err(GenerateError::Unreachable { .. })), "{last:?}");
}
