//! Which token of a passage answered which token of the query, in words.

use super::Matched;
use crate::chunk::TokenCounter;
use crate::collection::{Collection, CollectionError, Published};
use crate::embedder::Embedder;
use crate::search::{Hit, SearchQuery, read_error};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::task::AbortOnDropHandle;
use trivium_ranking::late_interaction::TokenMatch;
use trivium_service_kit::{Deadline, Error};

/// A token of the query, and the one of the passage that is most similar to it.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenAnswer {
    /// The query's token; empty where the encoder read something else in its place.
    pub query_token: String,
    /// The passage's token; empty as above.
    pub passage_token: String,
    /// Its place among the passage's tokens, from 0.
    pub passage_place: usize,
    /// The cosine of the two.
    pub similarity: f64,
}

/// Puts words to the matches of the hits that late interaction scored.
///
/// # Errors
/// `COLLECTION_DAMAGED` when the rows cannot be read, and whatever asking for the tokenizer gives.
pub(in super::super) async fn explain(
    collection: &Collection,
    published: &Arc<Published>,
    embedder: &dyn Embedder,
    mut hits: Vec<Hit>,
    query: &SearchQuery,
    deadline: Deadline,
) -> Result<Vec<Hit>, Error> {
    let row_ids: Vec<u64> = hits.iter().filter(|hit| matched(hit).is_some()).map(|hit| hit.chunk.row_id).collect();
    if row_ids.is_empty() {
        return Ok(hits);
    }
    let encoder = embedder.encoder(Some(&collection.spec().embedder), deadline).await?;
    let damaged = |error: CollectionError| read_error(collection, &error);
    let rows = published.table.take_index_rows(&row_ids).await.map_err(|error| damaged(error.into()))?;
    let texts: HashMap<u64, String> = rows.into_iter().map(|row| (row.chunk.row_id, row.index_text)).collect();
    let query = query.text.clone();
    // Tokenizing takes a while for long passages, which is nothing for an async thread.
    let work = tokio::task::spawn_blocking(move || {
        for hit in &mut hits {
            let (Some(matched), Some(text)) = (matched(hit), texts.get(&hit.chunk.row_id)) else { continue };
            hit.token_answers = in_words(encoder.counter.as_ref(), &query, text, matched);
        }
        hits
    });
    AbortOnDropHandle::new(work).await.map_err(|error| damaged(error.into()))
}

fn matched(hit: &Hit) -> Option<&Matched> {
    hit.rescored.as_ref()?.matched.as_ref()
}

fn in_words(counter: &dyn TokenCounter, query: &str, passage: &str, matched: &Matched) -> Vec<TokenAnswer> {
    let queries = tokens(counter, query, matched.matches.len());
    let passages = tokens(counter, passage, matched.passage_tokens);
    let word = |tokens: &Option<Vec<String>>, place: usize| {
        tokens.as_ref().and_then(|tokens| tokens.get(place)).cloned().unwrap_or_default()
    };
    let answer = |(place, found): (usize, &TokenMatch)| TokenAnswer {
        query_token: word(&queries, place),
        passage_token: word(&passages, found.passage_token),
        passage_place: found.passage_token,
        similarity: found.similarity,
    };
    matched.matches.iter().enumerate().map(answer).collect()
}

/// The tokens of a text as it writes them. `None` where there are not `read` of them: an encoder that reads a prefix before
/// each text, or not all of it, has other tokens, and no word is better than a wrong one.
fn tokens(counter: &dyn TokenCounter, text: &str, read: usize) -> Option<Vec<String>> {
    let letters: Vec<char> = text.chars().collect();
    let places = counter.places(text);
    let words = places.into_iter().map(|place| letters.get(place).unwrap_or_default().iter().collect());
    Some(words.collect::<Vec<String>>()).filter(|words| words.len() == read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::Range;

    /// Each letter but spaces is a token.
    struct Letters;

    impl TokenCounter for Letters {
        fn count(&self, text: &str) -> usize {
            self.places(text).len()
        }

        fn places(&self, text: &str) -> Vec<Range<usize>> {
            text.chars().enumerate().filter(|(_, c)| *c != ' ').map(|(place, _)| place..place + 1).collect()
        }
    }

    fn found(passage_token: usize) -> TokenMatch {
        TokenMatch { passage_token, similarity: 0.5 }
    }

    #[test]
    fn words_stand_where_the_encoder_read_them() {
        let pairs = |query: &str, matches: &[TokenMatch], passage_tokens, counter: &dyn TokenCounter| {
            let matched = Matched { matches: matches.to_vec(), passage_tokens };
            let answers = in_words(counter, query, "é u", &matched);
            answers.into_iter().map(|answer| (answer.query_token, answer.passage_token)).collect::<Vec<_>>()
        };
        let of = |pair: (&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        assert_eq!(pairs("ü e", &[found(1), found(0)], 2, &Letters), [of(("ü", "u")), of(("e", "é"))]);
        // Another number of tokens than the encoder read.
        assert_eq!(pairs("üe", &[found(1)], 2, &Letters), [of(("", "u"))]);
        assert_eq!(pairs("ue", &[found(1), found(0)], 3, &Letters), [of(("u", "")), of(("e", ""))]);
        assert_eq!(pairs("ue", &[found(1), found(0)], 2, &|text: &str| text.len()), [of(("", "")), of(("", ""))]);
    }
}
