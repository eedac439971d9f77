//! The catalogue as `google.rpc` details, and back.

use std::collections::HashMap;

use tonic::{Code, Status, metadata::MetadataMap};
use tonic_types::{ErrorDetails, StatusExt};

use super::{Error, Reason};

/// The domain of every `ErrorInfo` of Trivium.
pub const DOMAIN: &str = "trivium";

/// The metadata key under which `google.rpc.Status` travels.
const DETAILS_KEY: &str = "grpc-status-details-bin";

/// The metadata key by which gRPC servers tell clients when to retry.
const PUSHBACK_KEY: &str = "grpc-retry-pushback-ms";

/// Whether response headers or trailers already carry an error of the catalogue.
pub fn has_details(headers: &http::HeaderMap) -> bool {
    headers.contains_key(DETAILS_KEY)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut details = ErrorDetails::new();
        let info = HashMap::from([("advice".to_owned(), error.reason().advice().to_owned())]);
        details.set_error_info(error.reason().as_str(), DOMAIN, info);
        if let Some(field) = error.field() {
            details.add_bad_request_violation(field, error.message());
        }
        if let Some((subject, quota)) = error.quota() {
            details.add_quota_failure_violation(subject, quota);
        }
        let mut metadata = MetadataMap::new();
        if let Some(delay) = error.retry_after() {
            details.set_retry_info(Some(delay));
            metadata.insert(PUSHBACK_KEY, u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).into());
        }
        Self::with_error_details_and_metadata(error.reason().grpc_code(), error.message(), details, metadata)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let ours =
            details.error_info().filter(|info| info.domain == DOMAIN).and_then(|info| Reason::from_wire(&info.reason));
        let reason = ours.unwrap_or_else(|| foreign(&status));
        let mut error = Self::new(reason, status.message());
        if let Some(violation) = details.bad_request().and_then(|bad| bad.field_violations.first()) {
            error = error.with_field(violation.field.clone());
        }
        if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
            error = error.with_retry_after(delay);
        }
        if let Some(violation) = details.quota_failure().and_then(|quota| quota.violations.first()) {
            error = error.with_quota(violation.subject.clone(), violation.description.clone());
        }
        error
    }
}

/// What a status means that tonic or a foreign server made.
fn foreign(status: &Status) -> Reason {
    match status.code() {
        // tonic answers OUT_OF_RANGE to a message over the size limit.
        Code::OutOfRange | Code::ResourceExhausted => Reason::MessageTooLarge,
        Code::InvalidArgument => Reason::MessageMalformed,
        // tonic answers this to a method that is not there and to an encoding of messages that is not taken.
        Code::Unimplemented if status.message().contains("compressed") => Reason::CompressionUnsupported,
        Code::Unimplemented => Reason::MethodUnknown,
        Code::DeadlineExceeded => Reason::DeadlineExceeded,
        Code::Cancelled if status.message().contains("Timeout expired") => Reason::DeadlineExceeded,
        Code::Cancelled => Reason::Cancelled,
        Code::Unavailable => Reason::ShuttingDown,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::PermissionDenied => Reason::PermissionDenied,
        // tonic answers INTERNAL to bytes that are no message of the method.
        Code::Internal if status.message().contains("decode") => Reason::MessageMalformed,
        _ => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_reason_survives_the_wire() {
        for reason in Reason::ALL {
            let error = Error::new(*reason, "k is 0; it must be 1 to 100")
                .with_field("options.k")
                .with_retry_after(Duration::from_millis(250))
                .with_quota("tenant:acme", "5 calls a second");
            let status = Status::from(error.clone());
            assert_eq!(status.code(), reason.grpc_code());
            assert_eq!(Error::from(status), error);
        }
    }

    /// Clients refuse more than 16 KiB of headers, and then know nothing of the error.
    #[test]
    fn what_a_caller_wrote_does_not_make_an_error_too_large_for_headers() {
        let endless = "é".repeat(1 << 20);
        let error = Error::new(Reason::FieldInvalid, format!("the document {endless:?} is there twice"))
            .with_field(endless)
            .with_retry_after(Duration::from_millis(250));
        assert!(error.message().len() <= 2_048 && error.message().ends_with('…'), "{}", error.message().len());
        let response = Status::from(error.clone()).into_http::<()>();
        let bytes: usize = response.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
        assert!(bytes < 16 << 10, "{bytes} bytes");
        let arrived = Status::from_header_map(response.headers()).expect("a status");
        assert_eq!(Error::from(arrived), error);
    }

    #[test]
    fn what_tonic_answers_by_itself_is_understood() {
        let table = [
            (Status::out_of_range("Error, decoded message length too large"), Reason::MessageTooLarge),
            (Status::internal("failed to decode Protobuf message: invalid wire type"), Reason::MessageMalformed),
            (Status::cancelled("Timeout expired"), Reason::DeadlineExceeded),
            (Status::unimplemented(""), Reason::MethodUnknown),
            (
                Status::unimplemented("Content is compressed with `gzip` which isn't supported"),
                Reason::CompressionUnsupported,
            ),
            (Status::unknown("who knows"), Reason::Internal),
        ];
        for (status, reason) in table {
            assert_eq!(Error::from(status).reason(), reason);
        }
    }
}
