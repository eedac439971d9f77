//! Asks a running server of OpenAI's protocol for answers, and fails when one is not as the
//! contract says. `make test-openai` starts such a server and runs this.
//!
//!     openai_server BASE_URL MODEL KEY_VARIABLE

use std::env;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use trivium_model_host::OpenAiOptions;
use trivium_model_host::generate::{GenerateError, Generator, OpenAi, Passage, Piece, Prompts, Request, Summary};

/// How often a server that is starting is asked, with a quarter of a second in between.
const MOST_TRIES: usize = 240;

type Outcome = Result<(), Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [base_url, model, key] = &arguments[..] else { return Err("usage: openai_server URL MODEL KEY".into()) };
    let options = OpenAiOptions {
        base_url: base_url.clone(),
        model: model.clone(),
        api_key_env: Some(key.clone()),
        max_output_tokens: 24,
        max_retries: 0,
        ..OpenAiOptions::default()
    };
    wait_until_up(&options).await?;
    answers(&options).await?;
    gives_up(&options).await?;
    is_refused(&options).await?;
    println!("the server behaves as the backend expects");
    Ok(())
}

fn backend(options: &OpenAiOptions) -> Result<OpenAi, Box<dyn Error>> {
    Ok(OpenAi::new("real", options.clone(), Arc::new(Prompts::built_in()))?)
}

fn request() -> Request {
    let passage = |number, text: &str| Passage {
        number,
        title: "Replicas".to_owned(),
        uri: String::new(),
        text: text.to_owned(),
    };
    Request {
        query: "What does a replica copy?".to_owned(),
        passages: vec![passage(1, "A replica copies its primary."), passage(2, "A primary waits for no replica.")],
        prompt: None,
        max_output_tokens: None,
        deadline: None,
        span: tracing::Span::none(),
    }
}

async fn wait_until_up(options: &OpenAiOptions) -> Outcome {
    for _ in 0..MOST_TRIES {
        match ask(options, request()).await {
            Err(GenerateError::Unreachable { .. }) => tokio::time::sleep(Duration::from_millis(250)).await,
            Ok(_) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Err("the server does not come up".into())
}

/// The text and the end of one answer.
async fn ask(options: &OpenAiOptions, request: Request) -> Result<(String, usize, Summary), GenerateError> {
    let backend = OpenAi::new("real", options.clone(), Arc::new(Prompts::built_in()));
    let mut pieces = backend.expect("the options were checked before").generate(request);
    let (mut text, mut count) = (String::new(), 0);
    while let Some(piece) = pieces.next().await {
        match piece? {
            Piece::Text(piece) => {
                text.push_str(&piece);
                count += 1;
            }
            Piece::Citation(_) => {}
            Piece::Summary(summary) => return Ok((text, count, summary)),
        }
    }
    Err(GenerateError::Empty { generator: "real".to_owned() })
}

async fn answers(options: &OpenAiOptions) -> Outcome {
    let (text, count, summary) = ask(options, request()).await?;
    println!("answer in {count} pieces: {text:?}");
    println!("{summary:?}");
    if count < 2 {
        return Err("the answer does not stream".into());
    }
    let limit = options.max_output_tokens;
    if summary.output_tokens > limit {
        return Err(format!("{} tokens were written, the limit is {limit}", summary.output_tokens).into());
    }
    Ok(())
}

/// An answer that is given up in its middle leaves the server fit for the next.
async fn gives_up(options: &OpenAiOptions) -> Outcome {
    let long = OpenAiOptions { max_output_tokens: 1500, ..options.clone() };
    let mut pieces = backend(&long)?.generate(request());
    pieces.next().await.ok_or("no piece came")??;
    drop(pieces);
    let (_, count, _) = ask(options, request()).await?;
    println!("after an answer that was given up: the next in {count} pieces");
    Ok(())
}

/// Refusals come as statuses, with the server's code where it has one.
async fn is_refused(options: &OpenAiOptions) -> Outcome {
    let no_key = OpenAiOptions { api_key_env: None, ..options.clone() };
    let wrong_path = OpenAiOptions { base_url: format!("{}/nowhere", options.base_url), ..options.clone() };
    let mut too_long = request();
    too_long.query = "why ".repeat(1500);
    for (what, options, request, expected) in [
        ("without a key", no_key, request(), 401),
        ("at a wrong path", wrong_path, request(), 404),
        ("beyond the context", options.clone(), too_long, 400),
    ] {
        match ask(&options, request).await {
            Err(GenerateError::Status { status, code, .. }) if status == expected => {
                println!("{what}: {status} {}", code.unwrap_or_default());
            }
            other => return Err(format!("{what}: {other:?}").into()),
        }
    }
    Ok(())
}
