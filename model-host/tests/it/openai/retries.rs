//! A request is sent again before its first token, and never after.

use std::time::{Duration, Instant};

use futures::StreamExt;
use trivium_model_host::OpenAiOptions;
use trivium_model_host::generate::{GenerateError, Generator, Request};

use super::{FIRST, SECOND, STOP, ask, backend, error, options, request, text};
use crate::support::completions::{Completions, Reply, events, status};

fn answer() -> Reply {
    Reply::then_closes(events(&[FIRST, SECOND, STOP]))
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    let passing = [
        status("429 Too Many Requests", "retry-after: 0\r\n", ""),
        status("503 Service Unavailable", "", ""),
        // Cut before a word was said.
        events(&[]),
        String::new(),
    ];
    for bytes in passing {
        let replies = vec![Reply::then_closes(bytes.clone()), Reply::then_closes(bytes), answer()];
        let server = Completions::in_turn(replies).await;
        assert!(text(ask(options(&server.base_url)).await).starts_with("It is cold [1]."));
        assert_eq!(server.requests().len(), 3);
    }
}

#[tokio::test]
async fn what_will_not_pass_is_not() {
    for line in ["400 Bad Request", "404 Not Found", "501 Not Implemented"] {
        let server = Completions::in_turn(vec![Reply::then_closes(status(line, "", "")), answer()]).await;
        assert!(matches!(error(ask(options(&server.base_url)).await), GenerateError::Status { .. }));
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn retries_are_counted() {
    let server = Completions::always(Reply::then_closes(status("500 Internal Server Error", "", ""))).await;
    let patient = OpenAiOptions { max_retries: 4, ..options(&server.base_url) };
    assert!(matches!(error(ask(patient).await), GenerateError::Status { status: 500, .. }));
    assert_eq!(server.requests().len(), 5);
}

#[tokio::test]
async fn nothing_is_said_twice() {
    let server = Completions::in_turn(vec![Reply::then_closes(events(&[FIRST])), answer()]).await;
    let pieces = ask(options(&server.base_url)).await;
    assert!(pieces.len() > 1 && matches!(error(pieces), GenerateError::Cut { .. }));
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn no_one_waits_for_a_server_beyond_the_deadline() {
    let limited = status("429 Too Many Requests", "retry-after: 3600\r\n", "");
    let server = Completions::in_turn(vec![Reply::then_closes(limited), answer()]).await;
    let deadline = Some(Instant::now() + Duration::from_secs(60));
    let request = Request { deadline, ..request() };
    let error = error(backend(options(&server.base_url)).generate(request).collect().await);
    let asked = Some(Duration::from_secs(3600));
    assert!(matches!(error, GenerateError::RateLimited { retry_after, .. } if retry_after == asked), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_key_is_read_anew_for_each_answer() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "old").unwrap();
    let server = Completions::always(answer()).await;
    let backend = backend(OpenAiOptions { api_key_file: Some(key.clone()), ..options(&server.base_url) });
    for (secret, header) in [("old", "authorization: bearer old\r\n"), ("new", "authorization: bearer new\r\n")] {
        std::fs::write(&key, secret).unwrap();
        text(backend.generate(request()).collect().await);
        assert!(server.requests().last().unwrap().to_lowercase().contains(header));
    }
}

#[tokio::test]
async fn a_key_that_is_refused_is_not_tried_again_unless_it_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "old").unwrap();
    let refused = Reply::then_closes(status("401 Unauthorized", "", ""));
    let server = Completions::in_turn(vec![refused, answer()]).await;
    let error = error(ask(OpenAiOptions { api_key_file: Some(key), ..options(&server.base_url) }).await);
    assert!(matches!(error, GenerateError::Status { status: 401, .. }), "{error}");
    assert_eq!(server.requests().len(), 1);
}
