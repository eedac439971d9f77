//! Whether a passage bears out what cites it, by the words that both have. Pure.
//!
//! This finds citations that were put under a sentence at random, and numbers that were made
//! up. It cannot tell a sentence from its contrary.

use std::collections::BTreeSet;

use super::terms::{subject_words, words};

/// The share of a sentence's subject words that the cited passages together must have.
const LEAST_SHARED: f32 = 0.5;

/// The share that each of several cited passages must have of its own.
const LEAST_OWN: f32 = 0.35;

/// Whether a cited passage bears the citing text out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It has most of its words, and its numbers.
    Holds,
    /// It has few of its words, or lacks one of its numbers.
    Doubtful,
    /// There was no text to compare.
    Unchecked,
}

/// The words of a passage, title included.
#[derive(Debug)]
pub(super) struct Evidence {
    words: BTreeSet<String>,
}

impl Evidence {
    pub(super) fn new(title: &str, text: &str) -> Self {
        let mut words = words(text);
        words.extend(self::words(title));
        Self { words }
    }
}

/// What each of the passages that `sentence` cites together is worth for it, in their order.
pub(super) fn support(sentence: &str, cited: &[&Evidence]) -> Vec<Support> {
    let claimed = subject_words(sentence);
    if claimed.is_empty() {
        return vec![Support::Unchecked; cited.len()];
    }
    let share =
        |has: &dyn Fn(&String) -> bool| claimed.iter().filter(|word| has(word)).count() as f32 / claimed.len() as f32;
    let in_any = |word: &String| cited.iter().any(|evidence| evidence.words.contains(word));
    let numbers_stand = claimed.iter().filter(|word| is_number(word)).all(in_any);
    let together = share(&in_any);
    cited
        .iter()
        .map(|evidence| {
            let own = share(&|word| evidence.words.contains(word));
            let holds = numbers_stand && together >= LEAST_SHARED && own >= LEAST_OWN.min(together);
            if holds { Support::Holds } else { Support::Doubtful }
        })
        .collect()
}

fn is_number(word: &str) -> bool {
    word.starts_with(|character: char| character.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn supported(sentence: &str, passages: &[&str]) -> Vec<Support> {
        let evidence: Vec<Evidence> = passages.iter().map(|text| Evidence::new("Replicas", text)).collect();
        support(sentence, &evidence.iter().collect::<Vec<_>>())
    }

    #[test]
    fn words_and_numbers_must_stand_in_the_passage() {
        use Support::{Doubtful, Holds, Unchecked};
        let passage = "A replica copies its primary every 10 seconds, over one connection.";
        let table: [(&str, &[&str], &[Support]); 7] = [
            ("The replica copies its primary every 10 seconds.", &[passage], &[Holds]),
            ("Replicas copy their primaries.", &[passage], &[Holds]),
            ("The replica copies its primary every 20 seconds.", &[passage], &[Doubtful]),
            ("Cats sleep most of the day.", &[passage], &[Doubtful]),
            ("The replica copies its primary while cats sleep.", &[passage, "Cats sleep."], &[Holds, Holds]),
            ("The replica copies its primary.", &[passage, "Cats sleep."], &[Holds, Doubtful]),
            ("...", &[passage], &[Unchecked]),
        ];
        for (sentence, passages, expected) in table {
            assert_eq!(supported(sentence, passages), expected, "{sentence}");
        }
    }

    proptest! {
        #[test]
        fn a_quotation_always_holds(text in "[a-zA-Z0-9 .,é]{0,80}", from in 0usize..80, length in 1usize..80) {
            let quoted: String = text.chars().skip(from).take(length).collect();
            // Words that the cut goes through are not the passage's any more.
            let whole: Vec<&str> = quoted.split(' ').filter(|word| text.split(' ').any(|other| other == *word)).collect();
            prop_assert!(!supported(&whole.join(" "), &[&text]).contains(&Support::Doubtful));
        }
    }
}
