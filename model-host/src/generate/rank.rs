//! Which sentences answer a query best. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::terms::{subject_words, word_count, words};

/// What each place further down costs a passage's sentences, so that ties go to the passage
/// that retrieval liked better.
const PLACE_COST: f32 = 0.01;
/// Fewer words are a fragment: a table cell, a label, a lead-in.
const LEAST_WORDS: usize = 4;
/// More words are a wall of text or a long listing, which nobody wants quoted whole.
const LONGEST_SENTENCE_WORDS: usize = 90;

/// A sentence of a passage that could be quoted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate<'a> {
    /// Index of the passage, best first.
    pub(super) passage: usize,
    /// Index among all sentences, in reading order.
    pub(super) place: usize,
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
        .filter(|(_, text)| can_answer(text))
        .map(|(passage, text)| (passage, text, words(text)))
        .collect();
    let weights = weights(query, &split);
    let total: f32 = weights.values().sum();
    let mut candidates: Vec<Candidate<'_>> = split
        .iter()
        .enumerate()
        .map(|(place, (passage, text, words))| {
            let shared: f32 = weights.iter().filter(|(word, _)| words.contains(*word)).map(|(_, weight)| weight).sum();
            Candidate { passage: *passage, place, text, lexical: if total > 0.0 { shared / total } else { 0.0 } }
        })
        .collect();
    let value = |candidate: &Candidate<'_>| candidate.lexical - candidate.cost();
    candidates.sort_by(|a, b| value(b).total_cmp(&value(a)));
    candidates.truncate(most);
    candidates
}

impl Candidate<'_> {
    /// What its passage's place costs it.
    pub(super) fn cost(&self) -> f32 {
        PLACE_COST * self.passage as f32
    }
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
/// words fit, and neither is one that only leads in what follows it, or a diagram drawn with
/// line characters.
fn can_answer(sentence: &str) -> bool {
    if sentence.contains(|character| ('\u{2500}'..='\u{257f}').contains(&character)) {
        return false;
    }
    let leads_elsewhere = sentence.trim_end_matches(['*', '_', ')', '"', '”']).ends_with(['?', '？', ':', '：']);
    !leads_elsewhere && (LEAST_WORDS..=LONGEST_SENTENCE_WORDS).contains(&word_count(&without_links(sentence)))
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

    fn best(query: &str) -> Vec<&'static str> {
        candidates(query, SENTENCES, 10).iter().map(|candidate| candidate.text).collect()
    }

    #[test]
    fn the_querys_words_decide_and_then_the_passages_place() {
        let found = best("How do I restart the replica?");
        assert_eq!(found[..2], [SENTENCES[1].1, SENTENCES[2].1]);
        assert_eq!(candidates("restart", SENTENCES, 2).len(), 2);
    }

    #[test]
    fn rare_words_weigh_more() {
        let sentences = [(0, "A replica has a name."), (0, "A replica has a port."), (0, "An olive has a stone.")];
        let found = candidates("the olive of the replica", sentences, 3);
        assert_eq!(found[0].text, sentences[2].1);
        assert!(found[0].lexical > 0.5 && found.iter().all(|candidate| (0.0..=1.0).contains(&candidate.lexical)));
    }

    #[test]
    fn what_cannot_answer_is_no_candidate() {
        let found = best("How do I restart the replica?");
        assert!(!found.contains(&"Too short.") && !found.contains(&"How do I restart the replica?"));
        assert!(!can_answer("To restart a replica, run the following:"));
        assert!(!can_answer("client ──Write──> primary ──Copy──> replica of the data"));
        assert!(!can_answer("[Rules for getting production access](#rules-for-production-access)"));
        assert!(!can_answer("See [one page about it](a) and [another page about it](b)."));
        assert!(can_answer("Ask your lead for access, as [the rules](#rules) say."));
        assert!(can_answer("An array such as a[0] is not a link (see below)."));
    }
}
