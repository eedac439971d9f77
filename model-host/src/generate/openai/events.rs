//! The events of a streamed chat completion. Pure.

use serde::Deserialize;

use crate::generate::cite::{Scanned, Scanner};
use crate::generate::{Finish, Piece, Summary};

/// One event.
#[derive(Debug)]
pub(super) enum Delta {
    Chunk(Chunk),
    /// The protocol's end mark.
    Done,
}

/// The part of a `chat.completion.chunk` that matters here.
#[derive(Debug, Deserialize)]
pub(super) struct Chunk {
    /// Empty in the last event, which holds the usage.
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    delta: Content,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Content {
    #[serde(default)]
    content: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
}

impl Delta {
    /// Reads an event's data; the error says where it is wrong, without repeating it.
    pub(super) fn parse(data: &str) -> Result<Self, String> {
        if data.trim() == "[DONE]" {
            return Ok(Self::Done);
        }
        serde_json::from_str(data)
            .map(Self::Chunk)
            .map_err(|error| format!("line {}, column {}", error.line(), error.column()))
    }
}

/// An answer that is being received.
pub(super) struct Completion {
    scanner: Scanner,
    finish: Option<Finish>,
    usage: Usage,
}

impl Completion {
    /// `passages` are the numbers that may be cited.
    pub(super) fn new(passages: impl IntoIterator<Item = u32>) -> Self {
        Self { scanner: Scanner::new(passages), finish: None, usage: Usage::default() }
    }

    /// Takes a chunk, and gives what can be sent on.
    pub(super) fn push(&mut self, chunk: Chunk) -> Vec<Piece> {
        if let Some(usage) = chunk.usage {
            self.usage = usage;
        }
        let Some(choice) = chunk.choices.into_iter().next() else {
            return Vec::new();
        };
        if let Some(reason) = choice.finish_reason {
            self.finish = Some(if reason == "length" { Finish::Length } else { Finish::Stop });
        }
        let content = choice.delta.content.unwrap_or_default();
        pieces(self.scanner.push(&content))
    }

    /// Whether the server said that the answer is complete.
    pub(super) fn has_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The last pieces.
    pub(super) fn finish(self) -> Vec<Piece> {
        let mut last = pieces(self.scanner.finish());
        last.push(Piece::Summary(Summary {
            finish: self.finish.unwrap_or(Finish::Stop),
            input_tokens: self.usage.prompt_tokens,
            output_tokens: self.usage.completion_tokens,
        }));
        last
    }
}

fn pieces(scanned: Scanned) -> Vec<Piece> {
    let text = (!scanned.text.is_empty()).then_some(Piece::Text(scanned.text));
    text.into_iter().chain(scanned.citations.into_iter().map(Piece::Citation)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(json: &str) -> Chunk {
        match Delta::parse(json) {
            Ok(Delta::Chunk(chunk)) => chunk,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn chunks_become_pieces_and_a_summary() {
        let mut completion = Completion::new([1]);
        assert!(completion.push(chunk(r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#)).is_empty());
        let pieces = completion.push(chunk(r#"{"choices":[{"index":0,"delta":{"content":"Yes [1]"}}]}"#));
        assert!(matches!(&pieces[..], [Piece::Text(text), Piece::Citation(_)] if text == "Yes [1]"));
        assert!(!completion.has_finished());
        completion.push(chunk(r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#));
        completion.push(chunk(r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#));
        let summary = Summary { finish: Finish::Length, input_tokens: 7, output_tokens: 3 };
        assert_eq!(completion.finish(), [Piece::Summary(summary)]);
    }

    #[test]
    fn errors_do_not_repeat_the_content() {
        let reason = Delta::parse(r#"{"choices": secret"#).unwrap_err();
        assert!(reason.contains("line 1") && !reason.contains("secret"), "{reason}");
        assert!(matches!(Delta::parse(" [DONE] "), Ok(Delta::Done)));
    }
}
