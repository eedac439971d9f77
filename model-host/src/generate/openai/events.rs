//! The events of a streamed chat completion. Pure.

use serde::Deserialize;

use super::failure::Refusal;
use crate::generate::cite::{Scanned, Scanner};
use crate::generate::prompt::Prepared;
use crate::generate::{Finish, Piece, Summary};

/// One event.
#[derive(Debug)]
pub(super) enum Delta {
    Chunk(Chunk),
    /// The server gives up in the middle of a stream.
    Refused(Refusal),
    /// The protocol's end mark.
    Done,
}

/// An event that is not the end mark.
#[derive(Deserialize)]
#[serde(untagged)]
enum Event {
    Refused { error: Refusal },
    Chunk(Chunk),
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
    delta: Option<Content>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Content {
    #[serde(default)]
    content: Option<String>,
    /// What a model that thinks aloud says before its answer. It is no part of the answer,
    /// but it shows that the server is at work.
    #[serde(default, alias = "reasoning")]
    reasoning_content: Option<String>,
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
        // Read twice, because an untagged enum forgets where the text is wrong.
        let value: serde_json::Value =
            serde_json::from_str(data).map_err(|error| format!("line {}, column {}", error.line(), error.column()))?;
        match serde_json::from_value(value) {
            Ok(Event::Refused { error }) => Ok(Self::Refused(error)),
            Ok(Event::Chunk(chunk)) => Ok(Self::Chunk(chunk)),
            Err(_) => Err("it is no chunk of a chat completion".to_owned()),
        }
    }
}

impl Chunk {
    /// Whether the model has written something, or has ended.
    pub(super) fn holds_a_token(&self) -> bool {
        self.choices.iter().any(|choice| {
            let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
            let has_text =
                choice.delta.as_ref().is_some_and(|delta| said(&delta.content) || said(&delta.reasoning_content));
            has_text || choice.finish_reason.is_some()
        })
    }
}

/// An answer that is being received.
pub(super) struct Completion {
    scanner: Scanner,
    finish: Option<Finish>,
    usage: Usage,
    has_text: bool,
    left_out: Vec<u32>,
    cut: Vec<u32>,
}

impl Completion {
    /// `prepared` holds the passages that may be cited.
    pub(super) fn new(prepared: &Prepared) -> Self {
        Self {
            scanner: Scanner::new(&prepared.passages),
            finish: None,
            usage: Usage::default(),
            has_text: false,
            left_out: prepared.left_out.clone(),
            cut: prepared.cut.clone(),
        }
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
            self.finish = Some(finish(&reason));
        }
        let content = choice.delta.and_then(|delta| delta.content).unwrap_or_default();
        let scanned = self.scanner.push(&content);
        self.pieces(scanned)
    }

    /// Whether the server said that the answer is complete.
    pub(super) fn has_finished(&self) -> bool {
        self.finish.is_some()
    }

    /// The last pieces; `None` when the server ended its answer without a word, which is no
    /// answer, unless its filter took the words.
    pub(super) fn finish(mut self) -> Option<Vec<Piece>> {
        let (scanned, unknown_citations) = std::mem::take(&mut self.scanner).finish();
        let mut last = self.pieces(scanned);
        let finish = self.finish.unwrap_or(Finish::Stop);
        if !self.has_text && finish != Finish::Filtered {
            return None;
        }
        last.push(Piece::Summary(Summary {
            finish,
            input_tokens: self.usage.prompt_tokens,
            output_tokens: self.usage.completion_tokens,
            unknown_citations,
            passages_left_out: self.left_out,
            passages_cut: self.cut,
        }));
        Some(last)
    }

    fn pieces(&mut self, scanned: Scanned) -> Vec<Piece> {
        self.has_text |= !scanned.text.trim().is_empty();
        let text = (!scanned.text.is_empty()).then_some(Piece::Text(scanned.text));
        text.into_iter().chain(scanned.citations.into_iter().map(Piece::Citation)).collect()
    }
}

/// What the server calls the end of an answer. Other words, such as those for calls of tools
/// that nobody offered, are ends like any other.
fn finish(reason: &str) -> Finish {
    match reason {
        "length" => Finish::Length,
        "content_filter" => Finish::Filtered,
        _ => Finish::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Passage;

    fn chunk(json: &str) -> Chunk {
        match Delta::parse(json) {
            Ok(Delta::Chunk(chunk)) => chunk,
            other => panic!("{other:?}"),
        }
    }

    fn completion() -> Completion {
        let passage = Passage { number: 1, title: String::new(), uri: String::new(), text: "It rains.".to_owned() };
        Completion::new(&Prepared { passages: vec![passage], left_out: vec![2], ..Prepared::default() })
    }

    #[test]
    fn chunks_become_pieces_and_a_summary() {
        let mut completion = completion();
        let opening = chunk(r#"{"choices":[{"delta":{"role":"assistant","content":null}}]}"#);
        assert!(!opening.holds_a_token() && completion.push(opening).is_empty());
        let pieces = completion.push(chunk(r#"{"choices":[{"index":0,"delta":{"content":"Yes [1]"}}]}"#));
        assert!(matches!(&pieces[..], [Piece::Text(text), Piece::Citation(_)] if text == "Yes [1]"), "{pieces:?}");
        assert!(!completion.has_finished());
        completion.push(chunk(r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#));
        completion.push(chunk(r#"{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#));
        let summary = Summary {
            finish: Finish::Length,
            input_tokens: 7,
            output_tokens: 3,
            unknown_citations: Vec::new(),
            passages_left_out: vec![2],
            passages_cut: Vec::new(),
        };
        assert_eq!(completion.finish(), Some(vec![Piece::Summary(summary)]));
    }

    #[test]
    fn thinking_aloud_is_work_and_no_answer() {
        let mut completion = completion();
        let thought = chunk(r#"{"choices":[{"delta":{"content":"","reasoning_content":"hm"}}]}"#);
        assert!(thought.holds_a_token() && completion.push(thought).is_empty());
        completion.push(chunk(r#"{"choices":[{"delta":null,"finish_reason":"length"}]}"#));
        assert_eq!(completion.finish(), None);
    }

    #[test]
    fn what_a_filter_took_is_said() {
        let mut completion = completion();
        completion.push(chunk(r#"{"choices":[{"delta":{},"finish_reason":"content_filter"}]}"#));
        let last = completion.finish().unwrap();
        assert!(matches!(&last[..], [Piece::Summary(summary)] if summary.finish == Finish::Filtered), "{last:?}");
    }

    #[test]
    fn errors_do_not_repeat_the_content() {
        let reason = Delta::parse(r#"{"choices": secret"#).unwrap_err();
        assert!(reason.contains("line 1") && !reason.contains("secret"), "{reason}");
        let reason = Delta::parse(r#"{"choices": "secret"}"#).unwrap_err();
        assert!(reason.contains("no chunk") && !reason.contains("secret"), "{reason}");
        assert!(matches!(Delta::parse(" [DONE] "), Ok(Delta::Done)));
        assert!(matches!(Delta::parse(r#"{"error":{"message":"secret"}}"#), Ok(Delta::Refused(_))));
    }
}
