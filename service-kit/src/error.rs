//! The closed catalogue of errors, and its form on the wire.
//!
//! Every error that leaves a service is a `google.rpc.Status` with an
//! `ErrorInfo` whose reason is one of [`Reason::ALL`], and, where they apply, a
//! `BadRequest` that names the field and a `RetryInfo`. `docs/errors/` holds a
//! page for each reason.

mod reason;
mod wire;

use std::{fmt, time::Duration};

pub use reason::Reason;
pub use wire::{DOMAIN, has_details};

/// The longest message of an error, in bytes. It travels twice in the headers of a response, once with three bytes for
/// each that is not ASCII, and common clients take 16 KiB of headers.
pub const MAX_MESSAGE_BYTES: usize = 2_048;

/// The longest path of a field, in bytes.
const MAX_FIELD_BYTES: usize = 256;

/// An error of the catalogue.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    reason: Reason,
    message: String,
    field: Option<String>,
    retry_after: Option<Duration>,
    quota: Option<(String, String)>,
}

impl Error {
    /// An error with what happened, in words that name the value and the limit. What is beyond [`MAX_MESSAGE_BYTES`] is
    /// cut off: callers write into names as much as they like.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = shortened(message.into(), MAX_MESSAGE_BYTES);
        Self(Box::new(Inner { reason, message, field: None, retry_after: None, quota: None }))
    }

    /// The refusal of a field that the contract has and this version does not serve.
    pub fn not_served(field: &str) -> Self {
        Self::new(Reason::NotServed, format!("{field} is part of the contract, but this version does not serve it yet"))
            .with_field(field)
    }

    /// Names the field of the request at fault, as a path such as `options.k`.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(shortened(field.into(), MAX_FIELD_BYTES));
        self
    }

    /// Says when it is worth trying again.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    /// Says whose quota is used up, for instance `tenant:acme`, and which, in words.
    #[must_use]
    pub fn with_quota(mut self, subject: impl Into<String>, quota: impl Into<String>) -> Self {
        self.0.quota = Some((subject.into(), quota.into()));
        self
    }

    /// The entry of the catalogue.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The field at fault, when a field is.
    pub fn field(&self) -> Option<&str> {
        self.0.field.as_deref()
    }

    /// Whose quota is used up, and which, when one is.
    pub fn quota(&self) -> Option<(&str, &str)> {
        self.0.quota.as_ref().map(|(subject, quota)| (subject.as_str(), quota.as_str()))
    }

    /// When it is worth trying again, if it is.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }
}

/// A text of at most `limit` bytes, with a sign where something is missing.
fn shortened(mut text: String, limit: usize) -> String {
    const MISSING: char = '…';
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit.saturating_sub(MISSING.len_utf8())));
        text.push(MISSING);
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.reason.as_str(), self.0.message)?;
        if let Some(field) = &self.0.field {
            write!(f, " (field {field})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("reason", &self.0.reason.as_str())
            .field("message", &self.0.message)
            .field("field", &self.0.field)
            .field("retry_after", &self.0.retry_after)
            .finish()
    }
}

impl std::error::Error for Error {}
