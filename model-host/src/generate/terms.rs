//! The words of a text, as rankings and checks compare them. Pure.

use std::collections::BTreeSet;

use unicode_segmentation::UnicodeSegmentation;

/// Words that carry no subject.
const STOP_WORDS: [&str; 64] = [
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "by", "can", "could", "did", "do", "does",
    "for", "from", "had", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "me", "my", "of", "on",
    "or", "our", "out", "please", "shall", "should", "so", "some", "tell", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "to", "up", "was", "we", "were", "what", "when", "where", "which", "who", "why",
    "will", "you",
];

/// The words of a text in lower case, without their commonest endings.
pub(super) fn words(text: &str) -> BTreeSet<String> {
    text.unicode_words().map(|word| stem(&word.to_lowercase())).collect()
}

/// The words that say what a text is about; all of them when it has no others.
pub(super) fn subject_words(text: &str) -> BTreeSet<String> {
    let all = words(text);
    let subjects: BTreeSet<String> = all.iter().filter(|word| !is_stop_word(word)).cloned().collect();
    if subjects.is_empty() { all } else { subjects }
}

/// How many words a text has.
pub(super) fn word_count(text: &str) -> usize {
    text.unicode_words().count()
}

fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.contains(&word)
}

/// Takes off the commonest English endings, so that "restarts" finds "restarting".
fn stem(word: &str) -> String {
    for ending in ["ies", "ied"] {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.chars().count() >= 2
        {
            return format!("{rest}y");
        }
    }
    for ending in ["ing", "es", "ed", "s", "e"] {
        if let Some(rest) = word.strip_suffix(ending)
            && rest.chars().count() >= 3
            && !rest.ends_with('s')
        {
            return rest.to_owned();
        }
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_do_not_matter() {
        let pairs = [
            ("restarts", "restarting"),
            ("queries", "query"),
            ("copied", "copy"),
            ("cache", "cached"),
            ("process", "process"),
        ];
        for (a, b) in pairs {
            assert_eq!(stem(a), stem(b));
        }
        assert_eq!(stem("as"), "as");
    }

    #[test]
    fn subjects_are_what_is_left_of_the_small_words() {
        let subjects = |text: &str| subject_words(text).into_iter().collect::<Vec<_>>();
        assert_eq!(subjects("How do I restart the Replica?"), ["replica", "restart"]);
        assert_eq!(subjects("What is it?"), ["is", "it", "what"]);
        assert!(subjects("?").is_empty());
    }
}
