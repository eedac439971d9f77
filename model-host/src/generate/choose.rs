//! What is quoted of the best sentences, and whether anything is. Pure.

use super::rank::Candidate;
use super::terms::{word_count, words};

/// A further sentence must score at least this share of the best one. On Wikipedia paragraphs
/// 0.6 quotes 0.4 sentences more and finds one answer more in a hundred; docs/adr/0016.
const SHARE_OF_BEST: f32 = 0.75;

/// Two sentences that share this much of their words say the same.
const SAME_WORDS: f32 = 0.8;

/// Two sentences of this cosine say the same in other words.
const SAME_MEANING: f32 = 0.95;

/// The confidence in a best sentence is the logistic function of this, weighing the share of
/// the query's words and the cosine. Fitted to whether the quoted sentences hold the answer;
/// docs/adr/0016 says on what, and what it is worth elsewhere.
const CONFIDENCE: Confidence = Confidence { lexical: 1.65, similarity: 4.33, bias: -4.06 };

struct Confidence {
    lexical: f32,
    similarity: f32,
    bias: f32,
}

/// How much is quoted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) sentences: usize,
    /// Unless the first sentence alone has more.
    pub(super) words: usize,
    /// The least confidence in the best sentence, 0 to 1.
    pub(super) confidence: f32,
}

/// A candidate with what the encoder says of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen<'a> {
    pub(super) candidate: Candidate<'a>,
    /// Its vector, of length 1.
    pub(super) vector: Vec<f32>,
    /// The cosine of its vector with the query's.
    pub(super) similarity: f32,
}

impl<'a> Seen<'a> {
    /// `query` and `vector` are of length 1.
    pub(super) fn new(candidate: Candidate<'a>, vector: Vec<f32>, query: &[f32]) -> Self {
        let similarity = cosine(&vector, query);
        Self { candidate, vector, similarity }
    }

    fn score(&self) -> f32 {
        f32::midpoint(self.candidate.lexical, self.similarity.max(0.0)) - self.candidate.cost()
    }

    /// The probability that quoting it and its like answers the query, 0 to 1.
    fn confidence(&self) -> f32 {
        let Confidence { lexical, similarity, bias } = CONFIDENCE;
        let logit = lexical * self.candidate.lexical + similarity * self.similarity.max(0.0) + bias;
        1.0 / (1.0 + (-logit).exp())
    }

    fn says_the_same_as(&self, other: &Self) -> bool {
        let (a, b) = (words(self.candidate.text), words(other.candidate.text));
        let shared = a.intersection(&b).count() as f32;
        let all = a.union(&b).count().max(1) as f32;
        shared / all >= SAME_WORDS || cosine(&self.vector, &other.vector) >= SAME_MEANING
    }
}

/// Chooses what to quote, in reading order: nothing when the best sentence does not earn
/// enough confidence.
pub(super) fn choose<'a>(mut seen: Vec<Seen<'a>>, bounds: &Bounds) -> Vec<Candidate<'a>> {
    seen.sort_by(|a, b| b.score().total_cmp(&a.score()));
    let Some(best) = best(&seen).filter(|best| best.confidence() >= bounds.confidence) else {
        return Vec::new();
    };
    let least = best.score() * SHARE_OF_BEST;
    let mut chosen: Vec<Seen<'_>> = Vec::new();
    let mut words_left = bounds.words;
    for next in seen.into_iter().take_while(|next| next.score() >= least) {
        let length = word_count(next.candidate.text);
        let fits = chosen.is_empty() || (length <= words_left && chosen.len() < bounds.sentences);
        if fits && !chosen.iter().any(|known| known.says_the_same_as(&next)) {
            words_left = words_left.saturating_sub(length);
            chosen.push(next);
        }
    }
    chosen.sort_by_key(|seen| seen.candidate.place);
    chosen.into_iter().map(|seen| seen.candidate).collect()
}

/// The confidence in the best sentence, 0 to 1; 0 without sentences.
pub(super) fn confidence(seen: &[Seen<'_>]) -> f32 {
    best(seen).map_or(0.0, Seen::confidence)
}

/// The sentence of the highest score; of equal ones the first.
fn best<'a, 'b>(seen: &'b [Seen<'a>]) -> Option<&'b Seen<'a>> {
    seen.iter().reduce(|best, next| if next.score().total_cmp(&best.score()).is_gt() { next } else { best })
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds { sentences: 3, words: 60, confidence: 0.18 };

    /// Sentences of one passage each, with the share of the query's words and the cosine that
    /// are given. No two mean the same, unless they have equal words.
    fn seen<'a>(sentences: &[(&'a str, f32, f32)]) -> Vec<Seen<'a>> {
        let sentence = |(place, &(text, lexical, similarity)): (usize, &(&'a str, f32, f32))| {
            let mut vector = vec![0.0; sentences.len()];
            vector[place] = 1.0;
            let candidate = Candidate { passage: place, place, text, lexical };
            Seen { candidate, vector, similarity }
        };
        sentences.iter().enumerate().map(sentence).collect()
    }

    fn chosen<'a>(seen: Vec<Seen<'a>>) -> Vec<&'a str> {
        choose(seen, &BOUNDS).iter().map(|candidate| candidate.text).collect()
    }

    #[test]
    fn the_best_are_quoted_in_reading_order_and_nothing_twice() {
        let sentences = seen(&[
            ("First, stop the replica.", 0.7, 0.7),
            ("Cats sleep most of the day.", 0.1, 0.1),
            ("Then start the replica again.", 0.9, 0.8),
            ("Then start the replica again!", 0.9, 0.8),
        ]);
        assert_eq!(chosen(sentences), ["First, stop the replica.", "Then start the replica again."]);
    }

    #[test]
    fn the_same_in_other_words_is_quoted_once() {
        let mut sentences = seen(&[("It weighs a ton.", 0.9, 0.9), ("Its mass is 1000 kg.", 0.9, 0.9)]);
        sentences[1].vector = sentences[0].vector.clone();
        assert_eq!(chosen(sentences), ["It weighs a ton."]);
    }

    #[test]
    fn nothing_is_quoted_when_nothing_fits() {
        assert!(chosen(Vec::new()).is_empty());
        assert!(chosen(seen(&[("Cats sleep most of the day.", 0.2, 0.25)])).is_empty());
        assert!(chosen(seen(&[("Cats sleep most of the day.", 0.0, -1.0)])).is_empty());
        assert_eq!(chosen(seen(&[("Cats sleep most of the day.", 0.0, 0.8)])).len(), 1);
    }

    #[test]
    fn answers_stay_short() {
        let long: Vec<String> = (0..6).map(|i| format!("word{i} ").repeat(25)).collect();
        let sentences: Vec<(&str, f32, f32)> = long.iter().map(|text| (text.as_str(), 0.9, 0.9)).collect();
        assert_eq!(chosen(seen(&sentences)).len(), 2);
        let longer = "word ".repeat(80);
        assert_eq!(chosen(seen(&[(&longer, 0.9, 0.9), ("A short one.", 0.9, 0.9)])), [&longer]);
    }

    proptest! {
        #[test]
        fn the_bounds_hold(
            scores in proptest::collection::vec((0.0..=1.0_f32, -1.0..=1.0_f32), 0..8),
            sentences in 1usize..4,
            words in 1usize..30,
            confidence in 0.0..=1.0_f32,
        ) {
            let texts: Vec<String> = (0..scores.len()).map(|i| format!("a{i} b{i} c{i} d{i} e{i} f{i}")).collect();
            let given: Vec<(&str, f32, f32)> =
                texts.iter().zip(&scores).map(|(text, (lexical, cosine))| (text.as_str(), *lexical, *cosine)).collect();
            let bounds = Bounds { sentences, words, confidence };
            let chosen = choose(seen(&given), &bounds);
            prop_assert!(chosen.len() <= sentences);
            prop_assert!(chosen.len() <= 1 || chosen.len() * 6 <= words);
            prop_assert!(chosen.is_sorted_by_key(|candidate| candidate.place));
        }
    }
}
