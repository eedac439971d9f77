//! A generation from request to stream of events.

use std::collections::BTreeSet;
use std::time::Instant;

use futures::stream::{BoxStream, StreamExt};
use tracing::Span;
use trivium_proto::model::v1 as proto;
use trivium_service_kit::telemetry::metrics::{self, Operation, TokenKind};
use trivium_service_kit::telemetry::{capture_content, count, names::attribute as key};
use trivium_service_kit::{Error, Reason, Service, validate};

use super::wire;
use crate::generate::{
    Finish, GenerateError, Generator, GeneratorModel, Limit, Passage, Piece, PromptError, Prompts, Request, Summary,
    Support,
};
use crate::trace::{chat_span, record_finish};

/// The most passages of one request.
const MAX_PASSAGES: usize = 64;
/// The longest passage, in code points.
const MAX_PASSAGE_CHARS: usize = 65_536;

/// Checks a request's fields.
pub(super) fn check(request: &proto::GenerateRequest, prompts: &Prompts) -> Result<(), Error> {
    validate::query("query", &request.query)?;
    if !request.prompt.is_empty() && !prompts.contains(&request.prompt) {
        // The name may be long, or hold what a terminal takes for a command.
        let shown: String = request.prompt.chars().take(64).collect();
        let message = format!("prompt {shown:?} is not configured; there are {}", prompts.names());
        return Err(Error::new(Reason::PromptNotFound, message).with_field("prompt"));
    }
    validate::not_served("earlier_turns", !request.earlier_turns.is_empty())?;
    if request.passages.len() > MAX_PASSAGES {
        let message = format!("passages has {} items; the limit is {MAX_PASSAGES}", request.passages.len());
        return Err(Error::new(Reason::FieldOutOfRange, message).with_field("passages"));
    }
    let mut numbers = BTreeSet::new();
    for (index, passage) in request.passages.iter().enumerate() {
        let field = |name: &str| format!("passages[{index}].{name}");
        if passage.number == 0 || !numbers.insert(passage.number) {
            let field = field("number");
            let message = format!("{field} is {}; numbers must be at least 1, each once", passage.number);
            return Err(Error::new(Reason::FieldInvalid, message).with_field(field));
        }
        if passage.text.len() > MAX_PASSAGE_CHARS && passage.text.chars().count() > MAX_PASSAGE_CHARS {
            let field = field("text");
            let message = format!("{field} is longer than {MAX_PASSAGE_CHARS} code points");
            return Err(Error::new(Reason::FieldOutOfRange, message).with_field(field));
        }
    }
    Ok(())
}

/// Starts a checked request on a backend. The span lives as long as the stream.
pub(super) fn start(
    generator: &dyn Generator,
    request: proto::GenerateRequest,
    deadline: Instant,
) -> BoxStream<'static, Result<proto::GenerateResponse, Error>> {
    let max_output_tokens = (request.max_output_tokens > 0).then_some(request.max_output_tokens);
    let model = generator.model();
    let span = chat_span(&model, generator.name(), max_output_tokens);
    if capture_content() {
        span.record(key::INPUT_VALUE, &request.query);
    }
    let mut answer = Answer {
        generator: generator.name().to_owned(),
        model: wire::generator_model(model.clone()),
        writer: model,
        span: span.clone(),
        started: Instant::now(),
        failed: Some(Reason::Cancelled),
        text: None,
    };
    let passages = request.passages.into_iter().map(|passage| Passage {
        number: passage.number,
        title: passage.title,
        uri: passage.uri,
        text: passage.text,
    });
    let request = Request {
        query: request.query,
        passages: passages.collect(),
        prompt: Some(request.prompt).filter(|prompt| !prompt.is_empty()),
        max_output_tokens,
        deadline: Some(deadline),
        span,
    };
    generator.generate(request).map(move |piece| answer.event(piece)).boxed()
}

/// An answer on its way out.
struct Answer {
    generator: String,
    model: proto::ModelRef,
    writer: GeneratorModel,
    span: Span,
    started: Instant,
    /// Why there is no whole answer; until it has ended, that nobody waited for it.
    failed: Option<Reason>,
    /// What was sent, from the first piece on; empty unless content is captured.
    text: Option<String>,
}

impl Answer {
    fn event(&mut self, piece: Result<Piece, GenerateError>) -> Result<proto::GenerateResponse, Error> {
        use proto::generate_response::Event;
        let event = match piece {
            Ok(Piece::Text(text)) => {
                self.record_text(&text);
                Event::Text(text)
            }
            Ok(Piece::Citation(citation)) => Event::Citation(proto::Citation {
                passage_number: citation.passage,
                answer_start: citation.answer.start,
                answer_end: citation.answer.end,
                quote: citation.quote,
                support: match citation.support {
                    Support::Holds => proto::CitationSupport::Holds,
                    Support::Doubtful => proto::CitationSupport::Doubtful,
                    Support::Unchecked => proto::CitationSupport::Unspecified,
                }
                .into(),
            }),
            Ok(Piece::Summary(summary)) => Event::Summary(self.summary(summary)),
            Err(error) => {
                let error = catalogue(error);
                self.failed = Some(error.reason());
                self.span.record("otel.status_code", "ERROR");
                self.span.record(key::ERROR_TYPE, error.reason().as_str());
                return Err(error);
            }
        };
        Ok(proto::GenerateResponse { event: Some(event) })
    }

    fn operation(&self) -> Operation<'_> {
        Operation { name: "chat", provider: self.writer.provider, model: &self.writer.name }
    }

    fn record_text(&mut self, piece: &str) {
        if self.text.is_none() {
            let elapsed = self.started.elapsed();
            self.span.record(key::GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, elapsed.as_secs_f64());
            metrics::of(Service::ModelHost).began(self.operation(), elapsed);
        }
        let text = self.text.get_or_insert_default();
        if capture_content() {
            text.push_str(piece);
        }
    }

    fn summary(&mut self, summary: Summary) -> proto::GenerationSummary {
        let (finish_reason, name) = match summary.finish {
            Finish::Stop => (proto::FinishReason::Stop, "stop"),
            Finish::Length => (proto::FinishReason::Length, "length"),
            Finish::NotInPassages => (proto::FinishReason::NotInPassages, "not_in_passages"),
            Finish::Filtered => (proto::FinishReason::Filtered, "content_filter"),
        };
        self.failed = None;
        record_finish(&self.span, name);
        let (input_tokens, output_tokens) = (summary.input_tokens, summary.output_tokens);
        // A backend that does not count reports 0, which is no fact to record.
        if input_tokens > 0 || output_tokens > 0 {
            for (field, tokens) in [
                (key::GEN_AI_USAGE_INPUT_TOKENS, input_tokens),
                (key::GEN_AI_USAGE_OUTPUT_TOKENS, output_tokens),
                (key::LLM_TOKEN_COUNT_PROMPT, input_tokens),
                (key::LLM_TOKEN_COUNT_COMPLETION, output_tokens),
                (key::LLM_TOKEN_COUNT_TOTAL, input_tokens.saturating_add(output_tokens)),
            ] {
                self.span.record(field, count(tokens));
            }
            let instruments = metrics::of(Service::ModelHost);
            instruments.used(self.operation(), TokenKind::Input, input_tokens.into());
            instruments.used(self.operation(), TokenKind::Output, output_tokens.into());
        }
        if let (true, Some(text)) = (capture_content(), &self.text) {
            self.span.record(key::OUTPUT_VALUE, text);
        }
        proto::GenerationSummary {
            generator: self.generator.clone(),
            model: Some(self.model.clone()),
            finish_reason: finish_reason.into(),
            usage: Some(proto::TokenUsage { input_tokens, output_tokens }),
            unknown_citations: summary.unknown_citations,
            passages_left_out: summary.passages_left_out,
            passages_cut: summary.passages_cut,
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        metrics::of(Service::ModelHost).operated(self.operation(), self.failed, self.started.elapsed());
    }
}

/// The catalogue's error for an answer that failed.
fn catalogue(error: GenerateError) -> Error {
    let message = error.to_string();
    match error {
        GenerateError::Embed(error) => wire::embed_error(error),
        GenerateError::RateLimited { retry_after, .. } => {
            Error::new(Reason::GeneratorFailed, message).with_retry_after(retry_after.unwrap_or(wire::RETRY_AFTER))
        }
        GenerateError::TimedOut { limit: Limit::Deadline, .. } => Error::new(Reason::DeadlineExceeded, message),
        GenerateError::Prompt { source: PromptError::TooLong { .. }, .. } => {
            Error::new(Reason::QueryTooLong, message).with_field("query")
        }
        GenerateError::Prompt { source: PromptError::Template { .. }, .. }
        | GenerateError::Unreachable { .. }
        | GenerateError::Status { .. }
        | GenerateError::Malformed { .. }
        | GenerateError::Cut { .. }
        | GenerateError::BrokenOff { .. }
        | GenerateError::Empty { .. }
        | GenerateError::TimedOut { .. } => Error::new(Reason::GeneratorFailed, message),
    }
}
