//! What a command's failure looks like: words on stderr, and an exit code.

use std::{io, process::ExitCode};

use trivium_service_kit::{ConfigError, Error, config::EXIT_CODE};

/// A failure that better configuration would prevent; the process exits 64 for it.
#[derive(Debug, thiserror::Error)]
#[error("bad configuration: {0}")]
pub struct BadConfiguration(pub String);

/// Prints what went wrong, and gives the exit code: 0 done, 1 failed, 64 bad configuration.
/// Wrong usage has exited with 2 before this, while the command line was parsed.
pub fn report(outcome: anyhow::Result<()>) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    if reader_left(&error) {
        return ExitCode::SUCCESS;
    }
    for line in explain(&error) {
        eprintln!("{line}");
    }
    ExitCode::from(code(&error))
}

/// The exit code of a failure.
fn code(error: &anyhow::Error) -> u8 {
    let configuration = error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<BadConfiguration>());
    if configuration { EXIT_CODE } else { 1 }
}

/// The failure in words: what happened, the field at fault, what to do.
fn explain(error: &anyhow::Error) -> Vec<String> {
    let mut lines = vec![format!("error: {}", one_line(error))];
    let ours = error.chain().find_map(|cause| cause.downcast_ref::<Error>());
    if let Some(ours) = ours {
        if let Some(field) = ours.field() {
            lines.push(format!("field: {field}"));
        }
        lines.push(format!("  try: {}", ours.reason().advice()));
    }
    lines
}

/// All causes in one line. A cause that its wrapper has quoted already is left out.
fn one_line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        // The field has a line of its own.
        let words = match cause.downcast_ref::<Error>() {
            Some(ours) => format!("{} ({})", ours.message(), ours.reason().as_str()),
            None => cause.to_string(),
        };
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
    }
    text.replace('\n', " ")
}

/// Whether all that failed is that nobody reads the output any more, as in `trivium search ... | head`.
fn reader_left(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use trivium_service_kit::Reason;

    use super::*;

    #[test]
    fn codes_follow_the_kind_of_failure() {
        let configuration = anyhow!(ConfigError::new("router.k", 0, "must be at least 1"));
        let damaged = Err::<(), _>(BadConfiguration("models: cut short".into())).context("up").unwrap_err();
        let failure = anyhow!(Error::new(Reason::RouterUnavailable, "connection refused"));
        assert_eq!([code(&configuration), code(&damaged), code(&failure)], [64, 64, 1]);
    }

    #[test]
    fn an_error_of_the_catalogue_names_field_and_advice() {
        let error = Error::new(Reason::FieldOutOfRange, "k is 0; it must be 1 to 100").with_field("options.k");
        let lines = explain(&Err::<(), _>(error).context("the router refused").unwrap_err());
        let advice = format!("  try: {}", Reason::FieldOutOfRange.advice());
        let first = "error: the router refused: k is 0; it must be 1 to 100 (FIELD_OUT_OF_RANGE)";
        assert_eq!(lines, [first, "field: options.k", advice.as_str()]);
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let closed = anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("writing");
        assert!(reader_left(&closed));
        assert!(!reader_left(&anyhow::Error::from(io::Error::from(io::ErrorKind::NotFound))));
    }
}
