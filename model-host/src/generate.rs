//! Answers from numbered passages, streamed piece by piece.

mod choose;
mod cite;
mod extractive;
mod openai;
mod prompt;
mod rank;
mod screen;
mod sentences;
mod support;
mod terms;

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use futures::stream::BoxStream;

use crate::bundle::ModelRef;
use crate::runtime::EmbedError;

pub use extractive::{EXTRACTIVE, Extractive, ExtractiveOptions};
pub use openai::{OpenAi, OpenAiOptions};
pub use prompt::{PromptError, PromptOptions, Prompts, estimated_tokens};
pub use screen::Screened;
pub use support::Support;

/// A backend that writes answers.
pub trait Generator: Send + Sync {
    /// The name by which requests choose it.
    fn name(&self) -> &str;

    /// The model behind it: a bundle's name and version, or what a server calls it.
    fn model(&self) -> GeneratorModel;

    /// Whether it can answer without passages, from what it has learned.
    fn answers_without_passages(&self) -> bool;

    /// Starts an answer. Exactly one [`Piece::Summary`] ends a stream that does not fail.
    /// Dropping the stream gives the answer up.
    fn generate(&self, request: Request) -> BoxStream<'static, Result<Piece, GenerateError>>;
}

/// The model that wrote an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratorModel {
    /// Its name.
    pub name: String,
    /// Its version; empty when the server that runs it names none.
    pub version: String,
    /// Who runs it, by OpenTelemetry's `gen_ai.provider.name`.
    pub provider: &'static str,
}

impl GeneratorModel {
    fn of_bundle(model: &ModelRef) -> Self {
        Self { name: model.name.to_string(), version: model.version.to_string(), provider: "trivium" }
    }
}

/// What to answer, and from what.
#[derive(Clone, Debug)]
pub struct Request {
    /// The query.
    pub query: String,
    /// The passages, best first.
    pub passages: Vec<Passage>,
    /// The prompt for a backend that takes one; `None` leaves it to the backend. It must be
    /// one of the backend's [`Prompts`].
    pub prompt: Option<String>,
    /// The most tokens to write; `None` leaves it to the backend.
    pub max_output_tokens: Option<u32>,
    /// When nobody waits for the answer any more.
    pub deadline: Option<Instant>,
    /// The span that the backend's work belongs to.
    pub span: tracing::Span,
}

/// A passage that may be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    /// Its number in citations; no two are the same.
    pub number: u32,
    /// Title of its document.
    pub title: String,
    /// Where its document lives; empty when nobody said.
    pub uri: String,
    /// Its text.
    pub text: String,
}

/// One event of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// To be appended.
    Text(String),
    /// A citation inside the text sent so far.
    Citation(Citation),
    /// The end.
    Summary(Summary),
}

/// Ties a piece of the answer to a passage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Citation {
    /// The passage's number.
    pub passage: u32,
    /// The supported text in the answer, in Unicode code points, citation mark left out.
    pub answer: Range<u32>,
    /// The words of the passage, exactly; empty when the backend does not quote.
    pub quote: String,
    /// Whether the passage bears the text out.
    pub support: Support,
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Why.
    pub finish: Finish,
    /// Tokens of the prompt; 0 when the backend does not count.
    pub input_tokens: u32,
    /// Tokens of the answer; 0 when the backend does not count.
    pub output_tokens: u32,
    /// Numbers that the model cited and no passage of its prompt has, each once, ascending.
    /// Their marks are not in the answer.
    pub unknown_citations: Vec<u32>,
    /// Numbers of the passages that the prompt had no room for.
    pub passages_left_out: Vec<u32>,
    /// Numbers of the passages whose text was cut to fit the prompt.
    pub passages_cut: Vec<u32>,
}

impl Summary {
    /// The end of an answer about which nothing else is to be said.
    fn plain(finish: Finish) -> Self {
        Self {
            finish,
            input_tokens: 0,
            output_tokens: 0,
            unknown_citations: Vec::new(),
            passages_left_out: Vec::new(),
            passages_cut: Vec::new(),
        }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is complete.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The passages hold no answer, and the text says so.
    NotInPassages,
    /// The server's filter ended the answer.
    Filtered,
}

/// A limit on waiting for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// For the connection: `connect_timeout_ms`.
    Connect,
    /// For the first token: `first_token_timeout_ms`.
    FirstToken,
    /// Between two pieces: `idle_timeout_ms`.
    Idle,
    /// For the whole answer: `total_timeout_ms`.
    Total,
    /// The caller's own.
    Deadline,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "did not take the connection (connect_timeout_ms)",
            Self::FirstToken => "sent no token (first_token_timeout_ms)",
            Self::Idle => "fell silent (idle_timeout_ms)",
            Self::Total => "did not complete its answer (total_timeout_ms)",
            Self::Deadline => "did not complete its answer before the caller's deadline",
        })
    }
}

/// Why an answer failed.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The sentences could not be compared with the query.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// The server cannot be reached, or broke the connection.
    #[error("generator {generator} cannot be reached: {reason}")]
    Unreachable {
        /// The configured name.
        generator: String,
        /// The cause, without the request's content.
        reason: String,
    },
    /// The server asks for patience.
    #[error("generator {generator} is limiting its callers")]
    RateLimited {
        /// The configured name.
        generator: String,
        /// When the server wants to be asked again, if it says so.
        retry_after: Option<Duration>,
    },
    /// The server failed or refused.
    #[error("generator {generator} answered with HTTP status {status}{}", in_brackets(code.as_deref()))]
    Status {
        /// The configured name.
        generator: String,
        /// The HTTP status.
        status: u16,
        /// The server's own code for it, for instance `context_length_exceeded`.
        code: Option<String>,
    },
    /// The server sent what is not the protocol.
    #[error("generator {generator} sent an answer that cannot be read: {reason}")]
    Malformed {
        /// The configured name.
        generator: String,
        /// The cause, without the event's content.
        reason: String,
    },
    /// The stream ended before the answer did.
    #[error("generator {generator} ended its stream before the answer was complete")]
    Cut {
        /// The configured name.
        generator: String,
    },
    /// The server gave up in the middle of its answer, and said so.
    #[error("generator {generator} gave up in the middle of its answer{}", in_brackets(code.as_deref()))]
    BrokenOff {
        /// The configured name.
        generator: String,
        /// The server's own code for it.
        code: Option<String>,
    },
    /// The server ended its answer without a word.
    #[error("generator {generator} ended its answer without a word")]
    Empty {
        /// The configured name.
        generator: String,
    },
    /// The server took too long.
    #[error("generator {generator} {limit} within {} ms", waited.as_millis())]
    TimedOut {
        /// The configured name.
        generator: String,
        /// The limit that was reached.
        limit: Limit,
        /// How long it allows.
        waited: Duration,
    },
    /// The prompt cannot be made.
    #[error("generator {generator}: {source}")]
    Prompt {
        /// The configured name.
        generator: String,
        /// Why.
        source: PromptError,
    },
}

fn in_brackets(code: Option<&str>) -> String {
    code.map(|code| format!(" ({code})")).unwrap_or_default()
}
