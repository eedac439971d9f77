//! What the built-in backend looks at before it decides whether to quote anything. Public, so that its threshold can be
//! judged on labelled questions without a service for each threshold.

use super::choose::{Seen, confidence};
use super::rank::{Candidate, candidates};
use super::sentences::sentences;

/// How many sentences are compared with the query by meaning; the rest have too few of its
/// words. Each costs a forward pass of a sentence's length.
pub(super) const MOST_CANDIDATES: usize = 10;

/// A query and the sentences of its passages that could be quoted.
#[derive(Clone, Debug)]
pub struct Screened<'a> {
    query: &'a str,
    candidates: Vec<Candidate<'a>>,
}

impl<'a> Screened<'a> {
    /// Chooses the sentences by the query's words. `passages` are best first.
    pub fn of(query: &'a str, passages: &[&'a str]) -> Self {
        let split = passages
            .iter()
            .enumerate()
            .flat_map(|(index, passage)| sentences(passage).into_iter().map(move |range| (index, &passage[range])));
        Self { query, candidates: candidates(query, split, MOST_CANDIDATES) }
    }

    /// Whether no sentence could be quoted.
    pub fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }

    /// What the encoder is to make vectors of: the query first, as a query, and each sentence likewise.
    pub fn texts(&self) -> Vec<&'a str> {
        std::iter::once(self.query).chain(self.candidates.iter().map(|candidate| candidate.text)).collect()
    }

    /// The confidence in the best sentence, 0 to 1, which `least_confidence` is compared with; 0 without sentences.
    /// `vectors` are those of [`Screened::texts`], in their order, of length 1.
    pub fn confidence(self, vectors: Vec<Vec<f32>>) -> f32 {
        self.seen(vectors).map_or(0.0, |seen| confidence(&seen))
    }

    /// The sentences with their vectors; `None` when there is no vector of the query.
    pub(super) fn seen(self, vectors: Vec<Vec<f32>>) -> Option<Vec<Seen<'a>>> {
        let mut vectors = vectors.into_iter();
        let query = vectors.next()?;
        let seen = self.candidates.into_iter().zip(vectors);
        Some(seen.map(|(candidate, vector)| Seen::new(candidate, vector, &query)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSAGES: [&str; 2] = ["The dam is 90 metres high. It was built in 1931.", "Cats sleep most of the day."];

    #[test]
    fn the_confidence_is_that_of_the_best_sentence() {
        let screened = Screened::of("how high is the dam", &PASSAGES);
        let texts = screened.texts();
        assert_eq!((texts[0], texts[1]), ("how high is the dam", "The dam is 90 metres high."));
        // The best sentence lies on the query, the others across it.
        let vectors = |best: [f32; 2]| {
            let place = |at: usize| if at == 0 { vec![1.0, 0.0] } else { vec![0.0, 1.0] };
            let mut vectors: Vec<Vec<f32>> = (0..texts.len()).map(place).collect();
            vectors[1] = best.to_vec();
            vectors
        };
        let (near, far) =
            (screened.clone().confidence(vectors([1.0, 0.0])), screened.clone().confidence(vectors([0.0, 1.0])));
        assert!(near > far && (0.0..=1.0).contains(&near) && (0.0..=1.0).contains(&far), "{near} {far}");
    }

    #[test]
    fn without_sentences_there_is_no_confidence() {
        let screened = Screened::of("what?", &[]);
        assert!(screened.is_empty());
        assert_eq!(screened.clone().confidence(vec![vec![1.0]]), 0.0);
        assert_eq!(screened.confidence(Vec::new()), 0.0);
    }
}
