//! Any server that speaks OpenAI's chat completions protocol: vLLM, llama.cpp, Ollama, a
//! cloud.

mod call;
mod events;
mod failure;
mod key;
mod options;
mod retry;
mod sse;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream::{self, BoxStream, StreamExt};
use futures::{FutureExt, Stream};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use trivium_service_kit::ConfigError;

use self::call::Call;
use self::events::Completion;
use self::failure::Failures;
use self::key::Key;
use super::prompt::{Message, Prepared, Prompts};
use super::{GenerateError, Generator, GeneratorModel, Piece, Request};

pub use options::OpenAiOptions;

/// Pieces that may wait for a slow caller before the server's stream waits too.
const WAITING_PIECES: usize = 16;

/// A configured server, ready to be asked.
pub struct OpenAi {
    name: String,
    options: Arc<OpenAiOptions>,
    url: Url,
    key: Arc<Key>,
    client: Client,
    prompts: Arc<Prompts>,
}

impl fmt::Debug for OpenAi {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("OpenAi");
        shown.field("name", &self.name).field("url", &self.url.as_str()).field("key", &self.key).finish()
    }
}

impl OpenAi {
    /// Prepares the server that is configured under `name`; nothing is sent yet.
    ///
    /// # Errors
    /// When an option is wrong, the key cannot be read, or its prompt is not among `prompts`.
    pub fn new(name: &str, options: OpenAiOptions, prompts: Arc<Prompts>) -> Result<Self, ConfigError> {
        options.validate()?;
        let url = options.completions_url()?;
        if let Some(prompt) = &options.prompt
            && !prompts.contains(prompt)
        {
            let why = format!("is no prompt; there are {}", prompts.names());
            return Err(ConfigError::new("prompt", prompt, why));
        }
        // A redirection could carry the key and the passages to a place that nobody configured.
        let mut builder = Client::builder().connect_timeout(options.connect_timeout()).redirect(Policy::none());
        // A server on this machine is not behind the proxy that leads out of it.
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| ConfigError::new("base_url", url.as_str(), error.to_string()))?;
        let key = Arc::new(Key::read(&options)?);
        Ok(Self { name: name.to_owned(), options: Arc::new(options), url, key, client, prompts })
    }

    fn prepare(&self, request: &Request) -> Result<Prepared, GenerateError> {
        let prompt = request.prompt.as_deref().or(self.options.prompt.as_deref());
        let prepared = self.prompts.prepare(prompt, request, self.options.max_prompt_tokens);
        prepared.map_err(|source| GenerateError::Prompt { generator: self.name.clone(), source })
    }

    fn call(&self, request: &Request, messages: &[Message]) -> Call {
        Call {
            client: self.client.clone(),
            url: self.url.clone(),
            key: Arc::clone(&self.key),
            options: Arc::clone(&self.options),
            body: self.body(request, messages),
            failures: Failures { generator: self.name.clone(), connect_timeout: self.options.connect_timeout() },
            deadline: request.deadline,
        }
    }

    fn body(&self, request: &Request, messages: &[Message]) -> Bytes {
        let own = self.options.max_output_tokens;
        let messages: Vec<_> = messages
            .iter()
            .map(|message| serde_json::json!({"role": message.role, "content": message.content}))
            .collect();
        let body = serde_json::json!({
            "model": self.options.model,
            "messages": messages,
            "stream": true,
            "stream_options": {"include_usage": true},
            "max_tokens": request.max_output_tokens.map_or(own, |asked| asked.min(own)),
            "temperature": self.options.temperature,
        });
        body.to_string().into()
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
        let prepared = match self.prepare(&request) {
            Ok(prepared) => prepared,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        let call = self.call(&request, &prepared.messages);
        let (outlet, pieces) = mpsc::channel(WAITING_PIECES);
        let completion = move || Completion::new(&prepared);
        polled_together(pieces, call.run(completion, outlet)).boxed()
    }
}

/// The pieces, and with them the work that makes them: it goes on while the stream is polled,
/// and ends, connection and all, when the stream is dropped.
fn polled_together<T: Send>(
    pieces: impl Stream<Item = T> + Send,
    work: impl Future<Output = ()> + Send,
) -> impl Stream<Item = T> + Send {
    stream::select(pieces, work.into_stream().filter_map(|()| async { None }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> OpenAiOptions {
        OpenAiOptions {
            base_url: "http://127.0.0.1:1/v1".to_owned(),
            model: "m".to_owned(),
            ..OpenAiOptions::default()
        }
    }

    #[test]
    fn a_backend_never_prints_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs_err::write(&path, "s3cret\n").unwrap();
        let options = OpenAiOptions { api_key_file: Some(path), ..options() };
        let backend = OpenAi::new("gpt", options.clone(), Arc::new(Prompts::built_in())).unwrap();
        let printed = format!("{backend:?} {options:?}");
        assert!(printed.contains("set") && !printed.contains("s3cret"), "{printed}");
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let prompts = Arc::new(Prompts::built_in());
        let no_key = OpenAiOptions { api_key_file: Some("/nonexistent/key".into()), ..options() };
        assert_eq!(OpenAi::new("gpt", no_key, Arc::clone(&prompts)).unwrap_err().key, "api_key_file");
        let no_prompt = OpenAiOptions { prompt: Some("support".to_owned()), ..options() };
        let error = OpenAi::new("gpt", no_prompt, prompts).unwrap_err();
        assert_eq!((error.key.as_str(), error.why.as_str()), ("prompt", "is no prompt; there are default"));
    }
}
