//! Which sentences answer a query best. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::terms::{subject_words, word_count, words};

/// How many sentences an answer quotes at most.
const MOST_SENTENCES: usize = 3;
/// How many words it quotes at most, unless its first sentence alone is longer.
const MOST_WORDS: usize = 60;
/// A further sentence must score at least this share of the best one.
const SHARE_OF_BEST: f32 = 0.75;
/// Below this score no sentence is taken for an answer. Unrelated English sentences have
/// cosines up to about 0.3 and share a stray word at most.
const LEAST_SCORE: f32 = 0.3;
/// Two sentences that share this much of their words say the same.
const SAME_WORDS: f32 = 0.8;
/// What each place further down costs a passage's sentences, so that ties go to the passage
/// that retrieval liked better.
const PLACE_COST: f32 = 0.01;
/// What being a table's row costs a sentence: the same said in prose reads better.
const TABLE_ROW_COST: f32 = 0.15;
/// Fewer words are a fragment: a table cell, a label, a lead-in.
const LEAST_WORDS: usize = 4;
/// More words are a wall of text or a long listing, which nobody wants quoted whole.
const LONGEST_SENTENCE_WORDS: usize = 90;

/// A sentence of a passage that could be quoted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate<'a> {
    /// Index of the passage, best first.
    pub(super) passage: usize,
    /// The sentence, exactly as in the passage.
    pub(super) text: &'a str,
    /// How much of the query's words it holds, weighted by rarity; 0 to 1.
    pub(super) lexical: f32,
}

/// Scores the sentences of all passages by the query's words and gives the `most` best,
/// best first. The weight of a word is its inverse document frequency among the sentences.
pub(super) fn candidates<'a>(
    query: &str,
    sentences: impl IntoIterator<Item = (usize, &'a str)>,
    most: usize,
) -> Vec<Candidate<'a>> {
    let split: Vec<(usize, &str, BTreeSet<String>)> = sentences
        .into_iter()
        .map(|(passage, text)| (passage, text, words(text)))
        .filter(|(_, text, _)| can_answer(text))
        .collect();
    let weights = weights(query, &split);
    let total: f32 = weights.values().sum();
    let mut candidates: Vec<Candidate<'_>> = split
        .iter()
        .map(|(passage, text, words)| {
            let shared: f32 = weights.iter().filter(|(word, _)| words.contains(*word)).map(|(_, weight)| weight).sum();
            Candidate { passage: *passage, text, lexical: if total > 0.0 { shared / total } else { 0.0 } }
        })
        .collect();
    let value = |candidate: &Candidate<'_>| candidate.lexical - cost(candidate);
    candidates.sort_by(|a, b| value(b).total_cmp(&value(a)));
    candidates.truncate(most);
    candidates
}

/// Chooses what to quote, best first: nothing when nothing fits. `similarities` are the
/// cosines of the candidates' vectors with the query's, in the same order.
pub(super) fn select<'c, 'a>(candidates: &'c [Candidate<'a>], similarities: &[f32]) -> Vec<&'c Candidate<'a>> {
    let mut scored: Vec<(f32, &Candidate<'_>)> = candidates
        .iter()
        .zip(similarities)
        .map(|(candidate, similarity)| {
            let score = f32::midpoint(candidate.lexical, similarity.max(0.0));
            (score - cost(candidate), candidate)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let Some(best) = scored.first().map(|(score, _)| *score).filter(|score| *score >= LEAST_SCORE) else {
        return Vec::new();
    };
    let mut chosen: Vec<&Candidate<'_>> = Vec::new();
    let mut words_left = MOST_WORDS;
    for (score, candidate) in scored {
        let length = word_count(candidate.text);
        let is_first = chosen.is_empty();
        let is_good = score >= best * SHARE_OF_BEST;
        let fits = is_first || (length <= words_left && chosen.len() < MOST_SENTENCES);
        if is_good && fits && !chosen.iter().any(|known| says_the_same(known.text, candidate.text)) {
            words_left = words_left.saturating_sub(length);
            chosen.push(candidate);
        }
    }
    chosen
}

/// What a candidate's form and place cost it.
fn cost(candidate: &Candidate<'_>) -> f32 {
    let form = if candidate.text.starts_with('|') { TABLE_ROW_COST } else { 0.0 };
    form + PLACE_COST * candidate.passage as f32
}

fn weights(query: &str, sentences: &[(usize, &str, BTreeSet<String>)]) -> BTreeMap<String, f32> {
    subject_words(query)
        .into_iter()
        .map(|word| {
            let holding = sentences.iter().filter(|(_, _, words)| words.contains(&word)).count();
            let weight = (1.0 + sentences.len() as f32 / (1.0 + holding as f32)).ln();
            (word, weight)
        })
        .collect()
}

/// Whether a sentence could be an answer at all: one that asks is none, however well its
/// words fit, and neither is a diagram drawn with line characters.
fn can_answer(sentence: &str) -> bool {
    if sentence.contains(|character| ('\u{2500}'..='\u{257f}').contains(&character)) {
        return false;
    }
    let asks = sentence.trim_end_matches(['*', '_', ')', '"', '”']).ends_with(['?', '？']);
    !asks && (LEAST_WORDS..=LONGEST_SENTENCE_WORDS).contains(&word_count(&without_links(sentence)))
}

/// The sentence without its Markdown links: a line of nothing else is an entry of a table of
/// contents, which points at an answer and is none.
fn without_links(sentence: &str) -> String {
    let mut rest = sentence;
    let mut kept = String::with_capacity(sentence.len());
    while let Some(open) = rest.find('[') {
        let link = rest[open..].find("](").and_then(|middle| {
            let target = open + middle + 2;
            rest[target..].find(')').map(|close| target + close + 1)
        });
        match link {
            Some(end) => {
                kept.push_str(&rest[..open]);
                rest = &rest[end..];
            }
            None => break,
        }
    }
    kept.push_str(rest);
    kept
}

fn says_the_same(a: &str, b: &str) -> bool {
    let (a, b) = (words(a), words(b));
    let shared = a.intersection(&b).count() as f32;
    let all = a.union(&b).count().max(1) as f32;
    shared / all >= SAME_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENTENCES: [(usize, &str); 7] = [
        (0, "The replica copies the data of its primary."),
        (0, "To restart a replica, run the command restart-replica."),
        (1, "To restart a replica, run the command restart-replica!"),
        (1, "Cats sleep most of the day."),
        (2, "A replica that is restarting serves no reads for a while."),
        (2, "Too short."),
        (2, "How do I restart the replica?"),
    ];

    fn chosen(query: &str, similarity: f32) -> Vec<&'static str> {
        let candidates = candidates(query, SENTENCES, 10);
        let similarities = vec![similarity; candidates.len()];
        select(&candidates, &similarities).iter().map(|candidate| candidate.text).collect()
    }

    #[test]
    fn the_querys_words_decide_and_nothing_is_said_twice() {
        assert_eq!(chosen("How do I restart the replica?", 0.5), [SENTENCES[1].1, SENTENCES[4].1]);
    }

    #[test]
    fn nothing_is_quoted_when_nothing_fits() {
        assert!(chosen("What does a submarine weigh?", 0.1).is_empty());
        assert!(select(&[], &[]).is_empty());
    }

    #[test]
    fn a_line_of_links_is_no_answer() {
        assert!(!can_answer("[Rules for getting production access](#rules-for-production-access)"));
        assert!(!can_answer("See [one page about it](a) and [another page about it](b)."));
        assert!(can_answer("Ask your lead for access, as [the rules](#rules) say."));
        assert!(can_answer("An array such as a[0] is not a link (see below)."));
    }

    #[test]
    fn prose_goes_before_a_tables_row_and_drawings_are_not_quoted() {
        let sentences = [(0, "| replica | it copies the primary |"), (0, "A replica copies the data of its primary.")];
        let candidates = candidates("replica primary", sentences, 10);
        let chosen = select(&candidates, &[0.5, 0.5]);
        assert_eq!(chosen.first().map(|candidate| candidate.text), Some(sentences[1].1));
        assert!(!can_answer("client ──Write──> primary ──Copy──> replica of the data"));
    }

    #[test]
    fn meaning_counts_where_words_differ() {
        let candidates = candidates("feline rest", SENTENCES, 10);
        let similarities: Vec<f32> =
            candidates.iter().map(|c| if c.text.starts_with("Cats") { 0.8 } else { 0.1 }).collect();
        let chosen = select(&candidates, &similarities);
        assert_eq!(chosen.iter().map(|c| c.text).collect::<Vec<_>>(), [SENTENCES[3].1]);
    }

    #[test]
    fn answers_stay_short() {
        let long: Vec<String> =
            (0..6).map(|i| format!("replica number{i} {}", format!("word{i} ").repeat(25).trim())).collect();
        let sentences = long.iter().map(|text| (0, text.as_str()));
        let candidates = candidates("replica", sentences, 10);
        let chosen = select(&candidates, &vec![0.9; candidates.len()]);
        assert_eq!(chosen.len(), 2);
    }
}
