//! What went wrong, as errors that name the generator and repeat no content.

use std::time::{Duration, SystemTime};

use futures::StreamExt;
use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use serde::Deserialize;

use super::super::{GenerateError, Limit};
use super::retry::retry_after;

/// How much of a refusal's body is read for its code, in bytes.
const LONGEST_REFUSAL_BYTES: usize = 16 << 10;

/// The longest code of a server that is repeated, in bytes.
const LONGEST_CODE_BYTES: usize = 64;

/// Makes the errors of one generator.
#[derive(Clone, Debug)]
pub(super) struct Failures {
    pub(super) generator: String,
    pub(super) connect_timeout: Duration,
}

/// The part of a refusal's body that may be repeated: its words may hold the prompt.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    #[serde(default)]
    code: Option<serde_json::Value>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize)]
struct RefusalBody {
    error: Refusal,
}

impl Refusal {
    /// The server's code for it, if it is a plain word such as `context_length_exceeded`.
    pub(super) fn code(self) -> Option<String> {
        // A number only repeats the status, where there are words beside it.
        let (word, number) = match self.code {
            Some(serde_json::Value::String(code)) => (Some(code), None),
            Some(serde_json::Value::Number(code)) => (None, Some(code.to_string())),
            _ => (None, None),
        };
        word.or(self.kind).or(number).filter(|code| is_plain(code))
    }
}

fn is_plain(code: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=LONGEST_CODE_BYTES).contains(&code.len()) && code.bytes().all(plain)
}

impl Failures {
    /// The response, if it is a stream of events.
    pub(super) async fn check(&self, response: Response) -> Result<Response, GenerateError> {
        let status = response.status();
        if status.is_success() {
            return match other_content(response.headers()) {
                None => Ok(response),
                Some(found) => Err(self.malformed(format!("it is {found}, not a stream of events"))),
            };
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
            let retry_after = header.and_then(|value| retry_after(value, SystemTime::now()));
            return Err(GenerateError::RateLimited { generator: self.generator.clone(), retry_after });
        }
        let code = refusal(response).await.and_then(Refusal::code);
        Err(GenerateError::Status { generator: self.generator.clone(), status: status.as_u16(), code })
    }

    /// A request that got no response.
    pub(super) fn no_response(&self, error: &reqwest::Error) -> GenerateError {
        let generator = self.generator.clone();
        if error.is_connect() && error.is_timeout() {
            return GenerateError::TimedOut { generator, limit: Limit::Connect, waited: self.connect_timeout };
        }
        GenerateError::Unreachable { generator, reason: cause(error) }
    }

    pub(super) fn timed_out(&self, limit: Limit, waited: Duration) -> GenerateError {
        GenerateError::TimedOut { generator: self.generator.clone(), limit, waited }
    }

    pub(super) fn malformed(&self, reason: String) -> GenerateError {
        GenerateError::Malformed { generator: self.generator.clone(), reason }
    }

    pub(super) fn cut(&self) -> GenerateError {
        GenerateError::Cut { generator: self.generator.clone() }
    }

    pub(super) fn broken_off(&self, refusal: Refusal) -> GenerateError {
        GenerateError::BrokenOff { generator: self.generator.clone(), code: refusal.code() }
    }

    pub(super) fn empty(&self) -> GenerateError {
        GenerateError::Empty { generator: self.generator.clone() }
    }
}

/// The innermost cause. The error's own text holds the URL, which belongs to the
/// configuration and to no answer; its causes do not.
fn cause(error: &reqwest::Error) -> String {
    let mut cause = std::error::Error::source(error);
    let mut text = "no connection".to_owned();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// The content's type, when it is named and is not that of events.
fn other_content(headers: &HeaderMap) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let shown = if kind.len() <= LONGEST_CODE_BYTES { kind.as_str() } else { "something else" };
    (kind != "text/event-stream").then(|| shown.to_owned())
}

async fn refusal(response: Response) -> Option<Refusal> {
    let mut body = Vec::new();
    let mut bytes = response.bytes_stream();
    while let Some(Ok(piece)) = bytes.next().await {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_REFUSAL_BYTES {
            return None;
        }
    }
    serde_json::from_slice::<RefusalBody>(&body).ok().map(|body| body.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_codes_are_repeated() {
        let table = [
            (r#"{"error":{"code":"context_length_exceeded","message":"secret"}}"#, Some("context_length_exceeded")),
            (r#"{"error":{"code":503,"type":"overloaded"}}"#, Some("overloaded")),
            (r#"{"error":{"code":503}}"#, Some("503")),
            (r#"{"error":{"code":null,"type":"invalid_request_error"}}"#, Some("invalid_request_error")),
            (r#"{"error":{"code":"you said: secret"}}"#, None),
            (r#"{"error":{}}"#, None),
        ];
        for (body, expected) in table {
            let body: RefusalBody = serde_json::from_str(body).unwrap();
            assert_eq!(body.error.code().as_deref(), expected);
        }
        assert!(!is_plain("") && !is_plain(&"x".repeat(65)));
    }

    #[test]
    fn streams_are_told_by_their_type() {
        let table = [
            (None, None),
            (Some("text/event-stream"), None),
            (Some("Text/Event-Stream; charset=utf-8"), None),
            (Some("application/json"), Some("application/json")),
        ];
        for (value, expected) in table {
            let headers = value.map(|value| (CONTENT_TYPE, value.parse().unwrap())).into_iter().collect();
            assert_eq!(other_content(&headers).as_deref(), expected);
        }
    }
}
