//! Any server that speaks OpenAI's chat completions protocol: vLLM, llama.cpp, Ollama, a
//! cloud.

mod events;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use eventsource_stream::{Event, EventStreamError, Eventsource};
use fs_err as fs;
use futures::stream::{self, BoxStream, StreamExt};
use reqwest::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use self::events::{Completion, Delta};
use super::prompt::messages;
use super::{GenerateError, Generator, GeneratorModel, Piece, Request};
use trivium_service_kit::ConfigError;

/// One configured server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAiOptions {
    /// Where the protocol's paths begin, for instance `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// The model to ask for.
    pub model: String,
    /// The environment variable that holds the key, if the server wants one.
    pub api_key_env: Option<String>,
    /// The file that holds the key, if the server wants one.
    pub api_key_file: Option<PathBuf>,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long the server may be silent, before its first piece and between pieces, in
    /// milliseconds.
    pub idle_timeout_ms: u64,
    /// The most tokens to write, unless the request asks for fewer.
    pub max_output_tokens: u32,
    /// How freely the model chooses its words, 0 to 2.
    pub temperature: f32,
}

impl Default for OpenAiOptions {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            model: String::new(),
            api_key_env: None,
            api_key_file: None,
            connect_timeout_ms: 2_000,
            idle_timeout_ms: 30_000,
            max_output_tokens: 512,
            temperature: 0.1,
        }
    }
}

impl OpenAiOptions {
    /// Checks what can be checked without reaching for files or servers.
    ///
    /// # Errors
    /// Names the key, its value and why.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.completions_url()?;
        if self.model.is_empty() {
            return Err(ConfigError::new("model", "", "must name the model to ask for"));
        }
        if self.api_key_env.is_some() && self.api_key_file.is_some() {
            return Err(ConfigError::new("api_key_file", "", "only one of api_key_env and api_key_file may be set"));
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err(ConfigError::new("temperature", self.temperature, "must be 0 to 2"));
        }
        trivium_service_kit::config::at_least("connect_timeout_ms", self.connect_timeout_ms, 1)?;
        trivium_service_kit::config::at_least("idle_timeout_ms", self.idle_timeout_ms, 1)?;
        trivium_service_kit::config::at_least("max_output_tokens", self.max_output_tokens, 1)
    }

    fn completions_url(&self) -> Result<Url, ConfigError> {
        let url = format!("{}/chat/completions", self.base_url.trim_end_matches('/'));
        let bad = |why: String| ConfigError::new("base_url", &self.base_url, why);
        let url = Url::parse(&url).map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("must begin with http:// or https://".to_owned()));
        }
        Ok(url)
    }

    fn api_key(&self) -> Result<Option<HeaderValue>, ConfigError> {
        let (key, secret, place) = match (&self.api_key_env, &self.api_key_file) {
            (Some(variable), _) => {
                ("api_key_env", std::env::var(variable).map_err(|e| e.to_string()), variable.clone())
            }
            (None, Some(path)) => {
                ("api_key_file", fs::read_to_string(path).map_err(|e| e.to_string()), path.display().to_string())
            }
            (None, None) => return Ok(None),
        };
        let secret = secret.map_err(|why| ConfigError::new(key, &place, why))?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", secret.trim()))
            .map_err(|_| ConfigError::new(key, &place, "holds characters that no header may have"))?;
        // Keeps the key out of every debug print of the request.
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// A configured server, ready to be asked.
pub struct OpenAi {
    name: String,
    options: OpenAiOptions,
    url: Url,
    key: Option<HeaderValue>,
    client: Client,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OpenAi").field("name", &self.name).field("url", &self.url.as_str()).finish()
    }
}

impl OpenAi {
    /// Prepares the server that is configured under `name`; nothing is sent yet.
    ///
    /// # Errors
    /// When an option is wrong, or the key cannot be read.
    pub fn new(name: &str, options: OpenAiOptions) -> Result<Self, ConfigError> {
        options.validate()?;
        let url = options.completions_url()?;
        let idle = Duration::from_millis(options.idle_timeout_ms);
        let mut builder =
            Client::builder().connect_timeout(Duration::from_millis(options.connect_timeout_ms)).read_timeout(idle);
        // A server on this machine is not behind the proxy that leads out of it.
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| ConfigError::new("base_url", url.as_str(), error.to_string()))?;
        Ok(Self { name: name.to_owned(), key: options.api_key()?, options, url, client })
    }

    fn http_request(&self, request: &Request) -> reqwest::RequestBuilder {
        let own = self.options.max_output_tokens;
        let messages: Vec<_> = messages(request)
            .into_iter()
            .map(|(role, content)| serde_json::json!({"role": role, "content": content}))
            .collect();
        let body = serde_json::json!({
            "model": self.options.model,
            "messages": messages,
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_tokens": request.max_output_tokens.map_or(own, |asked| asked.min(own)),
            "temperature": self.options.temperature,
        });
        let mut builder = self.client.post(self.url.clone()).json(&body);
        if let Some(key) = &self.key {
            builder = builder.header(AUTHORIZATION, key.clone());
        }
        match request.deadline {
            Some(deadline) => builder.timeout(deadline.saturating_duration_since(Instant::now())),
            None => builder,
        }
    }

    fn errors(&self) -> Errors {
        Errors { generator: self.name.clone(), idle: Duration::from_millis(self.options.idle_timeout_ms) }
    }
}

impl Generator for OpenAi {
    fn name(&self) -> &str {
        &self.name
    }

    fn model(&self) -> GeneratorModel {
        GeneratorModel { name: self.options.model.clone(), version: String::new(), provider: "openai" }
    }

    fn answers_without_passages(&self) -> bool {
        true
    }

    fn generate(&self, request: Request) -> BoxStream<'static, Result<Piece, GenerateError>> {
        let sent = self.http_request(&request);
        let errors = self.errors();
        let completion = Completion::new(request.passages.iter().map(|passage| passage.number));
        stream::once(async move {
            let opened = match sent.send().await {
                Ok(response) => errors.check(response),
                Err(error) => Err(errors.transport(&error)),
            };
            match opened {
                Ok(response) => answer(response, completion, errors),
                Err(error) => stream::once(async { Err(error) }).boxed(),
            }
        })
        .flatten()
        .boxed()
    }
}

/// Reads the server's events into pieces, and ends after the first error or the summary.
fn answer(
    response: Response,
    completion: Completion,
    errors: Errors,
) -> BoxStream<'static, Result<Piece, GenerateError>> {
    let reader = Reader {
        events: response.bytes_stream().eventsource().boxed(),
        completion: Some(completion),
        ready: VecDeque::new(),
        errors,
    };
    stream::unfold(reader, |mut reader| async move { reader.next().await.map(|piece| (piece, reader)) }).boxed()
}

type EventResult = Result<Event, EventStreamError<reqwest::Error>>;

struct Reader {
    events: BoxStream<'static, EventResult>,
    /// Taken when the answer ends, well or badly.
    completion: Option<Completion>,
    ready: VecDeque<Piece>,
    errors: Errors,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<Piece, GenerateError>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some(Ok(piece));
            }
            let mut completion = self.completion.take()?;
            match self.events.next().await {
                None if completion.has_finished() => self.ready.extend(completion.finish()),
                None => return Some(Err(self.errors.cut())),
                Some(Err(error)) => return Some(Err(self.errors.event(error))),
                Some(Ok(event)) => match Delta::parse(&event.data) {
                    Ok(Delta::Done) => self.ready.extend(completion.finish()),
                    Ok(Delta::Chunk(chunk)) => {
                        self.ready.extend(completion.push(chunk));
                        self.completion = Some(completion);
                    }
                    Err(reason) => return Some(Err(self.errors.malformed(reason))),
                },
            }
        }
    }
}

/// Turns what went wrong into errors that name the generator and repeat no content.
struct Errors {
    generator: String,
    idle: Duration,
}

impl Errors {
    fn check(&self, response: Response) -> Result<Response, GenerateError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let generator = self.generator.clone();
        if status != StatusCode::TOO_MANY_REQUESTS {
            return Err(GenerateError::Status { generator, status: status.as_u16() });
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| value.parse().ok()).map(Duration::from_secs);
        Err(GenerateError::RateLimited { generator, retry_after })
    }

    fn transport(&self, error: &reqwest::Error) -> GenerateError {
        let generator = self.generator.clone();
        if error.is_timeout() && !error.is_connect() {
            return GenerateError::Silent { generator, waited: self.idle };
        }
        // The error's own text holds the URL, which may hold credentials; its cause does not.
        let cause = std::error::Error::source(error).map(ToString::to_string);
        GenerateError::Unreachable { generator, reason: cause.unwrap_or_else(|| "no connection".to_owned()) }
    }

    fn event(&self, error: EventStreamError<reqwest::Error>) -> GenerateError {
        match error {
            EventStreamError::Transport(error) if error.is_timeout() => self.transport(&error),
            EventStreamError::Transport(_) => self.cut(),
            EventStreamError::Utf8(_) => self.malformed("it is not UTF-8".to_owned()),
            EventStreamError::Parser(_) => self.malformed("it is no server-sent event".to_owned()),
        }
    }

    fn malformed(&self, reason: String) -> GenerateError {
        GenerateError::Malformed { generator: self.generator.clone(), reason }
    }

    fn cut(&self) -> GenerateError {
        GenerateError::Cut { generator: self.generator.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> OpenAiOptions {
        OpenAiOptions {
            base_url: "http://127.0.0.1:1/v1/".to_owned(),
            model: "m".to_owned(),
            ..OpenAiOptions::default()
        }
    }

    #[test]
    fn bad_options_are_named() {
        assert_eq!(options().validate(), Ok(()));
        type Change = fn(&mut OpenAiOptions);
        let table: [(Change, &str); 6] = [
            (|o| o.base_url = "ftp://host".to_owned(), "base_url"),
            (|o| o.base_url.clear(), "base_url"),
            (|o| o.model.clear(), "model"),
            (|o| o.temperature = f32::NAN, "temperature"),
            (|o| o.idle_timeout_ms = 0, "idle_timeout_ms"),
            (
                |o| {
                    o.api_key_env = Some("A".to_owned());
                    o.api_key_file = Some("b".into());
                },
                "api_key_file",
            ),
        ];
        for (change, key) in table {
            let mut options = options();
            change(&mut options);
            assert_eq!(options.validate().map_err(|error| error.key), Err(key.to_owned()));
        }
    }

    #[test]
    fn the_key_comes_from_a_file_and_is_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "s3cret\n").unwrap();
        let options = OpenAiOptions { api_key_file: Some(path), ..options() };
        let backend = OpenAi::new("gpt", options.clone()).unwrap();
        assert_eq!(backend.key.as_ref().unwrap(), "Bearer s3cret");
        assert!(!format!("{backend:?} {options:?} {:?}", backend.key).contains("s3cret"));
        assert_eq!(backend.url.as_str(), "http://127.0.0.1:1/v1/chat/completions");
    }

    #[test]
    fn a_key_that_is_not_there_is_an_error() {
        let absent = OpenAiOptions { api_key_file: Some("/nonexistent/key".into()), ..options() };
        assert_eq!(OpenAi::new("gpt", absent).unwrap_err().key, "api_key_file");
    }
}
