//! One answer from a server: sending, waiting, retrying, reading.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::channel::mpsc;
use futures::stream::BoxStream;
use futures::{SinkExt, StreamExt};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use tokio::time::{Instant as Moment, sleep, timeout_at};
use trivium_service_kit::telemetry::count;

use super::super::{GenerateError, Limit, Piece};
use super::OpenAiOptions;
use super::events::{Completion, Delta};
use super::failure::Failures;
use super::key::Key;
use super::retry::Retries;
use super::sse::Decoder;

/// Pieces on their way to the caller, and the end of the way when it fails.
pub(super) type Outlet = mpsc::Sender<Result<Piece, GenerateError>>;

/// What it takes to ask one server for one answer.
pub(super) struct Call {
    pub(super) client: Client,
    pub(super) url: Url,
    pub(super) key: Arc<Key>,
    pub(super) options: Arc<OpenAiOptions>,
    pub(super) body: Bytes,
    pub(super) failures: Failures,
    /// When nobody waits for the answer any more.
    pub(super) deadline: Option<Instant>,
}

/// Why an attempt ended without an answer.
struct Failed {
    error: GenerateError,
    /// Whether a piece had gone out: what was said cannot be unsaid by another attempt.
    has_spoken: bool,
}

impl Failed {
    fn silently(error: GenerateError) -> Self {
        Self { error, has_spoken: false }
    }
}

impl Call {
    /// Writes the answer into `outlet`, at last its summary or the error that ended it.
    pub(super) async fn run(self, completion: impl Fn() -> Completion, mut outlet: Outlet) {
        let (end, limit, allowed) = self.end();
        let outcome = timeout_at(end, self.attempts(&completion, end, &mut outlet)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(self.failures.timed_out(limit, allowed)));
        if let Err(error) = outcome {
            // The receiver is polled together with this future: it is gone only when nobody waits any more.
            let _ = outlet.send(Err(error)).await;
        }
    }

    /// When the answer must be complete, which limit says so, and how much time that is.
    fn end(&self) -> (Moment, Limit, Duration) {
        let now = Instant::now();
        let total = self.options.total_timeout();
        match self.deadline {
            Some(deadline) if deadline < now + total => {
                (deadline.into(), Limit::Deadline, deadline.saturating_duration_since(now))
            }
            _ => ((now + total).into(), Limit::Total, total),
        }
    }

    async fn attempts(
        &self,
        completion: &impl Fn() -> Completion,
        end: Moment,
        outlet: &mut Outlet,
    ) -> Result<(), GenerateError> {
        let backoff = Duration::from_millis(self.options.retry_backoff_ms);
        let mut retries = Retries::new(self.options.max_retries, backoff);
        let mut key = self.key().await;
        let mut has_new_key = false;
        loop {
            let Err(failed) = self.attempt(key.as_ref(), completion(), outlet).await else { return Ok(()) };
            if failed.has_spoken {
                return Err(failed.error);
            }
            // A key that was replaced between its reading and its use is worth one more attempt.
            if failed.error.is_unauthorised() && !std::mem::replace(&mut has_new_key, true) {
                let now = self.key().await;
                if now != key {
                    key = now;
                    continue;
                }
            }
            let time_left = end.saturating_duration_since(Moment::now());
            let Some(pause) = retries.after(&failed.error, time_left, random()) else { return Err(failed.error) };
            tracing::debug!(error = %failed.error, pause_ms = count(pause.as_millis()), "generator is asked again");
            sleep(pause).await;
        }
    }

    async fn key(&self) -> Option<HeaderValue> {
        let (key, generator) = (Arc::clone(&self.key), self.failures.generator.clone());
        match &*self.key {
            Key::File { .. } => tokio::task::spawn_blocking(move || key.current(&generator)).await.unwrap_or_default(),
            Key::None | Key::Fixed(_) => key.current(&generator),
        }
    }

    async fn attempt(
        &self,
        key: Option<&HeaderValue>,
        completion: Completion,
        outlet: &mut Outlet,
    ) -> Result<(), Failed> {
        let first_token = Moment::now() + self.options.first_token_timeout();
        let opened = timeout_at(first_token, self.open(key)).await;
        let response = opened.unwrap_or_else(|_| Err(self.no_first_token())).map_err(Failed::silently)?;
        let mut reading = Reading {
            call: self,
            bytes: response.bytes_stream().boxed(),
            decoder: Decoder::default(),
            received_bytes: 0,
            first_token: Some(first_token),
        };
        reading.read(completion, outlet).await
    }

    async fn open(&self, key: Option<&HeaderValue>) -> Result<Response, GenerateError> {
        let response = self.request(key).send().await.map_err(|error| self.failures.no_response(&error))?;
        self.failures.check(response).await
    }

    fn request(&self, key: Option<&HeaderValue>) -> RequestBuilder {
        let builder = self.client.post(self.url.clone()).header("content-type", "application/json");
        let builder = builder.header("accept", "text/event-stream").body(self.body.clone());
        match key {
            Some(key) => builder.header(AUTHORIZATION, key.clone()),
            None => builder,
        }
    }

    fn no_first_token(&self) -> GenerateError {
        self.failures.timed_out(Limit::FirstToken, self.options.first_token_timeout())
    }
}

/// A response that is being read.
struct Reading<'a> {
    call: &'a Call,
    bytes: BoxStream<'static, reqwest::Result<Bytes>>,
    decoder: Decoder,
    received_bytes: usize,
    /// When the first token must be there; `None` once it is.
    first_token: Option<Moment>,
}

impl Reading<'_> {
    async fn read(&mut self, mut completion: Completion, outlet: &mut Outlet) -> Result<(), Failed> {
        let mut has_spoken = false;
        loop {
            let delta = self.next().await.map_err(|error| Failed { error, has_spoken })?;
            let pieces = match delta {
                Some(Delta::Chunk(chunk)) => {
                    if chunk.holds_a_token() {
                        self.first_token = None;
                    }
                    completion.push(chunk)
                }
                Some(Delta::Refused(refusal)) => {
                    return Err(Failed { error: self.call.failures.broken_off(refusal), has_spoken });
                }
                None if !completion.has_finished() => {
                    return Err(Failed { error: self.call.failures.cut(), has_spoken });
                }
                Some(Delta::Done) | None => {
                    let last = completion.finish().ok_or_else(|| self.call.failures.empty());
                    send(last.map_err(|error| Failed { error, has_spoken })?, outlet).await;
                    return Ok(());
                }
            };
            has_spoken |= !pieces.is_empty();
            send(pieces, outlet).await;
        }
    }

    /// The next event; `None` at the end of the response.
    async fn next(&mut self) -> Result<Option<Delta>, GenerateError> {
        let failures = &self.call.failures;
        loop {
            if let Some(data) = self.decoder.next() {
                return Delta::parse(&data).map(Some).map_err(|reason| failures.malformed(reason));
            }
            let idle = self.call.options.idle_timeout();
            let until = self.first_token.unwrap_or_else(|| Moment::now() + idle);
            let Ok(received) = timeout_at(until, self.bytes.next()).await else {
                return Err(match self.first_token {
                    Some(_) => self.call.no_first_token(),
                    None => failures.timed_out(Limit::Idle, idle),
                });
            };
            let Some(bytes) = received else { return Ok(None) };
            let bytes = bytes.map_err(|_| failures.cut())?;
            self.received_bytes = self.received_bytes.saturating_add(bytes.len());
            let most = self.call.options.max_response_bytes;
            if self.received_bytes > most {
                return Err(failures.malformed(format!("the answer is longer than {most} bytes")));
            }
            self.decoder.push(&bytes).map_err(|error| failures.malformed(error.to_string()))?;
        }
    }
}

/// Hands pieces on, and waits while the caller is behind. A caller who has gone drops this
/// future, so a closed channel needs no answer.
async fn send(pieces: Vec<Piece>, outlet: &mut Outlet) {
    for piece in pieces {
        let _ = outlet.send(Ok(piece)).await;
    }
}

impl GenerateError {
    fn is_unauthorised(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == StatusCode::UNAUTHORIZED)
    }
}

/// Uniform in 0 to 1. The standard library seeds each of these hashers differently, which is
/// chance enough to keep callers from coming back all at once.
fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_stays_in_its_range_and_varies() {
        let drawn: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(drawn.iter().all(|value| (0.0..1.0).contains(value)));
        assert!(drawn.iter().any(|value| *value < 0.5) && drawn.iter().any(|value| *value >= 0.5));
    }
}
