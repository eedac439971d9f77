//! The built-in backend: the best sentences of the passages, quoted. It cannot invent.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use serde::{Deserialize, Serialize};
use trivium_service_kit::ConfigError;
use trivium_service_kit::config::at_least;

use super::choose::{Bounds, choose};
use super::screen::{MOST_CANDIDATES, Screened};
use super::{Citation, Finish, GenerateError, Generator, GeneratorModel, Piece, Request, Summary, Support};
use crate::batch::Lane;
use crate::batcher::BatchError;
use crate::runtime::{EmbedError, EncoderRuntime};

/// The name by which requests choose this backend.
pub const EXTRACTIVE: &str = "extractive";

/// What is said when no sentence fits.
const NOT_IN_PASSAGES: &str = "The passages that were found do not answer this.";

/// How much the built-in backend quotes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExtractiveOptions {
    /// The most sentences of an answer.
    pub sentences: usize,
    /// The most words of an answer, unless its first sentence alone has more.
    pub words: usize,
    /// The least confidence in the best sentence, 0 to 1; below it the passages are said not
    /// to answer. The default turns down one answerable question in twenty of those that it
    /// was fitted on.
    pub least_confidence: f32,
}

impl Default for ExtractiveOptions {
    fn default() -> Self {
        Self { sentences: 3, words: 60, least_confidence: 0.18 }
    }
}

impl ExtractiveOptions {
    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        at_least("sentences", self.sentences, 1)?;
        at_least("words", self.words, 1)?;
        if self.sentences > MOST_CANDIDATES {
            let why = format!("must be at most {MOST_CANDIDATES}");
            return Err(ConfigError::new("sentences", self.sentences, why));
        }
        if !(0.0..=1.0).contains(&self.least_confidence) {
            return Err(ConfigError::new("least_confidence", self.least_confidence, "must be 0 to 1"));
        }
        Ok(())
    }

    fn bounds(&self) -> Bounds {
        Bounds { sentences: self.sentences, words: self.words, confidence: self.least_confidence }
    }
}

/// Quotes sentences, ranked by the query's words and by the encoder.
pub struct Extractive {
    encoder: Arc<EncoderRuntime>,
    bounds: Bounds,
}

impl Extractive {
    /// Ranks with this encoder.
    pub fn new(encoder: Arc<EncoderRuntime>, options: &ExtractiveOptions) -> Self {
        Self { encoder, bounds: options.bounds() }
    }
}

impl Generator for Extractive {
    fn name(&self) -> &str {
        EXTRACTIVE
    }

    fn model(&self) -> GeneratorModel {
        GeneratorModel::of_bundle(self.encoder.model())
    }

    fn answers_without_passages(&self) -> bool {
        false
    }

    fn generate(&self, request: Request) -> BoxStream<'static, Result<Piece, GenerateError>> {
        let (encoder, bounds) = (Arc::clone(&self.encoder), self.bounds);
        stream::once(async move {
            match answer(&encoder, &bounds, &request).await {
                Ok(pieces) => pieces.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        })
        .flat_map(stream::iter)
        .boxed()
    }
}

async fn answer(encoder: &EncoderRuntime, bounds: &Bounds, request: &Request) -> Result<Vec<Piece>, GenerateError> {
    let passages: Vec<&str> = request.passages.iter().map(|passage| passage.text.as_str()).collect();
    let screened = Screened::of(&request.query, &passages);
    if screened.is_empty() {
        return Ok(nothing_found());
    }
    let embedded = encoder.embed(&screened.texts(), Lane::Query, request.deadline, &request.span).await?;
    let vectors = embedded.texts.into_iter().map(|text| text.vector).collect();
    let seen = screened.seen(vectors).ok_or(EmbedError::Batch(BatchError::Stopped))?;
    let chosen = choose(seen, bounds);
    if chosen.is_empty() {
        return Ok(nothing_found());
    }
    let quotes = chosen.iter().map(|candidate| (request.passages[candidate.passage].number, candidate.text));
    Ok(quoted(quotes))
}

fn nothing_found() -> Vec<Piece> {
    vec![Piece::Text(NOT_IN_PASSAGES.to_owned()), summary(Finish::NotInPassages)]
}

/// Writes each quote, its citation mark, and the citation itself.
fn quoted<'a>(quotes: impl Iterator<Item = (u32, &'a str)>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut written = 0;
    for (passage, quote) in quotes {
        // Line ends belong to the source's layout, not to the sentence.
        let shown = quote.split_whitespace().collect::<Vec<_>>().join(" ");
        let separator = if pieces.is_empty() { "" } else { " " };
        let text = format!("{separator}{shown} [{passage}]");
        let start = written + separator.len() as u32;
        let end = start + shown.chars().count() as u32;
        written += text.chars().count() as u32;
        pieces.push(Piece::Text(text));
        pieces.push(Piece::Citation(Citation {
            passage,
            answer: start..end,
            quote: quote.to_owned(),
            support: Support::Holds,
        }));
    }
    pieces.push(summary(Finish::Stop));
    pieces
}

fn summary(finish: Finish) -> Piece {
    Piece::Summary(Summary::plain(finish))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_options_are_named() {
        assert_eq!(ExtractiveOptions::default().validate(), Ok(()));
        type Change = fn(&mut ExtractiveOptions);
        let table: [(Change, &str); 4] = [
            (|o| o.sentences = 0, "sentences"),
            (|o| o.sentences = 11, "sentences"),
            (|o| o.words = 0, "words"),
            (|o| o.least_confidence = f32::NAN, "least_confidence"),
        ];
        for (change, key) in table {
            let mut options = ExtractiveOptions::default();
            change(&mut options);
            assert_eq!(options.validate().map_err(|error| error.key), Err(key.to_owned()));
        }
    }

    #[test]
    fn quotes_bear_their_marks_and_places() {
        let pieces = quoted([(2, "Été\n arrive."), (1, "It is hot.")].into_iter());
        let text: String =
            pieces.iter().filter_map(|p| if let Piece::Text(text) = p { Some(text.as_str()) } else { None }).collect();
        assert_eq!(text, "Été arrive. [2] It is hot. [1]");
        let characters: Vec<char> = text.chars().collect();
        for (piece, expected) in [(&pieces[1], "Été arrive."), (&pieces[3], "It is hot.")] {
            let Piece::Citation(citation) = piece else { panic!("{piece:?}") };
            let range = citation.answer.start as usize..citation.answer.end as usize;
            assert_eq!(characters[range].iter().collect::<String>(), expected);
        }
    }
}
