//! Servers that misbehave. Each fault has an error of its own, which repeats no content.

use std::time::{Duration, Instant};

use futures::StreamExt;
use trivium_model_host::OpenAiOptions;
use trivium_model_host::generate::{GenerateError, Generator, Limit, PromptError, Request};

use super::{FIRST, SECOND, STOP, ask, backend, error, only_error, options, request};
use crate::support::completions::{Completions, Reply, STREAM_HEAD, events, status};

#[tokio::test]
async fn a_server_that_limits_its_callers() {
    let limited = status("429 Too Many Requests", "retry-after: 7\r\n", "");
    let error = only_error(Reply::then_closes(limited)).await;
    let expected = Some(Duration::from_secs(7));
    assert!(matches!(error, GenerateError::RateLimited { retry_after, .. } if retry_after == expected), "{error}");
}

#[tokio::test]
async fn a_server_that_refuses() {
    let too_long = r#"{"error":{"code":"context_length_exceeded","message":"secret"}}"#;
    let table = [
        ("500 Internal Server Error", "", 500, None),
        ("401 Unauthorized", "not json", 401, None),
        ("400 Bad Request", too_long, 400, Some("context_length_exceeded")),
        ("302 Found", "", 302, None),
    ];
    for (line, body, expected, expected_code) in table {
        let error = only_error(Reply::then_closes(status(line, "location: http://127.0.0.1:1/\r\n", body))).await;
        let GenerateError::Status { status, ref code, .. } = error else { panic!("{error}") };
        assert_eq!((status, code.as_deref()), (expected, expected_code));
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_read() {
    let long_line = format!("{STREAM_HEAD}data: {}", "x".repeat(300_000));
    let many_chunks = events(&[FIRST; 40]);
    let no_stream = status("200 OK", "content-type: application/json\r\n", r#"{"secret":1}"#);
    let not_text = [STREAM_HEAD.as_bytes(), b"data: \xff\n\n"].concat();
    let table: [(Vec<u8>, &str); 6] = [
        (events(&[FIRST, r#"{"choices": secret"#]).into(), "line 1"),
        (events(&["secret"]).into(), "line 1"),
        (long_line.into(), "longer than 262144 bytes"),
        (many_chunks.into(), "longer than 2048 bytes"),
        (no_stream.into(), "application/json"),
        (not_text, "UTF-8"),
    ];
    for (bytes, expected) in table {
        let server = Completions::always(Reply::then_closes(bytes)).await;
        let most = if expected.contains("2048") { 2048 } else { 1 << 20 };
        let error = error(ask(OpenAiOptions { max_response_bytes: most, ..options(&server.base_url) }).await);
        assert!(matches!(error, GenerateError::Malformed { .. }), "{error}");
        assert!(error.to_string().contains(expected) && !error.to_string().contains("secret"), "{error}");
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_stream_that_is_cut() {
    let in_a_chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\ndata: {\"choices\":";
    for bytes in [events(&[FIRST, SECOND]), in_a_chunk.to_owned(), events(&[])] {
        let error = only_error(Reply::then_closes(bytes)).await;
        assert!(matches!(error, GenerateError::Cut { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_gives_up_and_one_that_says_nothing() {
    let given_up = events(&[FIRST, r#"{"error":{"code":"server_error","message":"secret"}}"#]);
    let error = only_error(Reply::then_closes(given_up)).await;
    let code = Some("server_error".to_owned());
    assert!(matches!(&error, GenerateError::BrokenOff { code: found, .. } if *found == code), "{error}");
    let error = only_error(Reply::then_closes(events(&[STOP, "[DONE]"]))).await;
    assert!(matches!(error, GenerateError::Empty { .. }), "{error}");
}

#[tokio::test]
async fn silence_is_named_by_the_limit_that_it_broke() {
    let short = |change: fn(&mut OpenAiOptions)| {
        let mut options = options("");
        change(&mut options);
        options
    };
    let first_token = short(|o| o.first_token_timeout_ms = 50);
    let idle = short(|o| o.idle_timeout_ms = 50);
    let total = short(|o| o.total_timeout_ms = 50);
    let pings = format!("{STREAM_HEAD}: ping\n\n: ping\n\n");
    let table = [
        (String::new(), first_token.clone(), Limit::FirstToken),
        ("HTTP/1.1 200 OK\r\ncontent-type: text/".to_owned(), first_token.clone(), Limit::FirstToken),
        (pings, first_token, Limit::FirstToken),
        (events(&[FIRST]), idle, Limit::Idle),
        (events(&[FIRST]), total.clone(), Limit::Total),
        (String::new(), total, Limit::Total),
    ];
    for (said, limits, expected) in table {
        let mut server = Completions::always(Reply::then_falls_silent(said)).await;
        let error = error(ask(OpenAiOptions { base_url: server.base_url.clone(), ..limits }).await);
        assert!(matches!(error, GenerateError::TimedOut { limit, .. } if limit == expected), "{expected:?}: {error}");
        assert!(error.to_string().contains("50 ms"), "{error}");
        server.caller_left().await;
        assert_eq!(server.requests().len(), 1, "waiting again would take as long again");
    }
}

#[tokio::test]
async fn the_callers_deadline_goes_before_the_configured_limits() {
    let server = Completions::always(Reply::then_falls_silent(events(&[FIRST]))).await;
    let deadline = Some(Instant::now() + Duration::from_millis(50));
    let request = Request { deadline, ..request() };
    let error = error(backend(options(&server.base_url)).generate(request).collect().await);
    assert!(matches!(error, GenerateError::TimedOut { limit: Limit::Deadline, .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    // A port that was just free: bound once and given back.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = error(ask(options(&format!("http://{free}/v1"))).await);
    assert!(matches!(error, GenerateError::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("http://"), "{error}");
}

#[tokio::test]
async fn a_query_that_leaves_no_room_is_refused_before_the_server_is_asked() {
    let server = Completions::always(Reply::then_closes(events(&[FIRST, STOP]))).await;
    let request = Request { query: "why ".repeat(1000), ..request() };
    let error = error(backend(options_with_room(&server.base_url, 500)).generate(request).collect().await);
    assert!(matches!(error, GenerateError::Prompt { source: PromptError::TooLong { limit: 500, .. }, .. }), "{error}");
    assert!(server.requests().is_empty());
}

fn options_with_room(base_url: &str, max_prompt_tokens: usize) -> OpenAiOptions {
    OpenAiOptions { max_prompt_tokens, ..options(base_url) }
}
