//! The backend for OpenAI-compatible servers, against servers on loopback.

mod answers;
mod faults;
mod retries;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use trivium_model_host::generate::{GenerateError, Generator, OpenAi, Passage, Piece, Prompts, Request};
use trivium_model_host::{OpenAiOptions, PromptOptions};

use crate::support::completions::{Completions, Reply};

const FIRST: &str = r#"{"choices":[{"delta":{"role":"assistant","content":"It is cold [1"}}]}"#;
const SECOND: &str = r#"{"choices":[{"delta":{"content":"]. It is blue [7]. It is warm [2]."}}]}"#;
const STOP: &str = r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#;
const USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":40,"completion_tokens":9}}"#;

fn options(base_url: &str) -> OpenAiOptions {
    OpenAiOptions {
        base_url: base_url.to_owned(),
        model: "some-model".to_owned(),
        retry_backoff_ms: 1,
        ..OpenAiOptions::default()
    }
}

fn request() -> Request {
    let passage = |number, text: &str| Passage {
        number,
        title: String::new(),
        uri: format!("doc/{number}"),
        text: text.to_owned(),
    };
    Request {
        query: "Why is it slow?".to_owned(),
        passages: vec![passage(1, "It is cold."), passage(2, "It is old.")],
        prompt: None,
        max_output_tokens: Some(50),
        deadline: None,
        span: tracing::Span::none(),
    }
}

fn backend(options: OpenAiOptions) -> OpenAi {
    let terse = PromptOptions {
        system: Some(String::new()),
        user: Some("{% for p in passages %}<{{ p.number }} {{ p.uri }}>{% endfor %} {{ query }}".to_owned()),
        ..PromptOptions::default()
    };
    let prompts = Prompts::load(&BTreeMap::from([("terse".to_owned(), terse)])).unwrap();
    OpenAi::new("local", options, Arc::new(prompts)).unwrap()
}

async fn ask(options: OpenAiOptions) -> Vec<Result<Piece, GenerateError>> {
    backend(options).generate(request()).collect().await
}

/// The answer's text, when it came to its summary.
fn text(pieces: Vec<Result<Piece, GenerateError>>) -> String {
    let pieces: Vec<Piece> = pieces.into_iter().map(Result::unwrap).collect();
    assert!(matches!(pieces.last(), Some(Piece::Summary(_))), "{pieces:?}");
    pieces.iter().filter_map(|piece| if let Piece::Text(text) = piece { Some(text.as_str()) } else { None }).collect()
}

/// The error that ends an answer which no retry can save.
async fn only_error(reply: Reply) -> GenerateError {
    let server = Completions::always(reply).await;
    error(ask(OpenAiOptions { max_retries: 0, ..options(&server.base_url) }).await)
}

fn error(mut pieces: Vec<Result<Piece, GenerateError>>) -> GenerateError {
    let error = pieces.pop().expect("a stream that fails says why").expect_err("it ends with the error");
    assert!(pieces.iter().all(Result::is_ok));
    error
}

fn body(request: &str) -> serde_json::Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}
