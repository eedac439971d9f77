//! As many passages as a prompt has room for. Pure.

use super::super::Passage;
use super::{Message, Prepared, PromptError};

/// About how many tokens a text takes in a language model's vocabulary: one for every three
/// ASCII characters, and one for each other code point. English prose takes a quarter less,
/// code and other languages are near it. The model's own count is not known here.
pub fn estimated_tokens(text: &str) -> usize {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let other = text.chars().filter(|character| !character.is_ascii()).count();
    ascii.div_ceil(3) + other
}

/// The messages that `write` makes of the most passages, from the first on, whose messages
/// take at most `max_tokens`. When not even the first passage fits, its text is cut.
pub(super) fn fit(
    passages: &[Passage],
    max_tokens: usize,
    write: impl Fn(&[Passage]) -> Result<Vec<Message>, PromptError>,
) -> Result<Prepared, PromptError> {
    let fits = |passages: &[Passage]| -> Result<bool, PromptError> { Ok(tokens(&write(passages)?) <= max_tokens) };
    let fitting = most(passages.len(), |count| fits(&passages[..count]))?;
    let (kept, cut) = match (fitting, passages.first()) {
        (0, None) => (Vec::new(), Vec::new()),
        (0, Some(first)) => {
            let characters = first.text.chars().count();
            let length = most(characters, |length| fits(&[shortened(first, length)]))?;
            // A beginning shorter than its title is no passage.
            if length == 0 { (Vec::new(), Vec::new()) } else { (vec![shortened(first, length)], vec![first.number]) }
        }
        (count, _) => (passages[..count].to_vec(), Vec::new()),
    };
    let messages = write(&kept)?;
    let tokens = tokens(&messages);
    if tokens > max_tokens {
        return Err(PromptError::TooLong { tokens, limit: max_tokens });
    }
    let left_out = passages[kept.len()..].iter().map(|passage| passage.number).collect();
    Ok(Prepared { messages, passages: kept, left_out, cut })
}

fn tokens(messages: &[Message]) -> usize {
    messages.iter().map(|message| estimated_tokens(&message.content)).sum()
}

/// The greatest number up to `limit` that fits, or 0: what fits at some number fits at every
/// smaller one.
fn most(limit: usize, fits: impl Fn(usize) -> Result<bool, PromptError>) -> Result<usize, PromptError> {
    if limit > 0 && fits(limit)? {
        return Ok(limit);
    }
    let (mut fitting, mut too_many) = (0, limit);
    while fitting + 1 < too_many {
        let middle = usize::midpoint(fitting, too_many);
        if fits(middle)? {
            fitting = middle;
        } else {
            too_many = middle;
        }
    }
    Ok(fitting)
}

/// The passage with the first `length` code points of its text, back to the last whole word.
fn shortened(passage: &Passage, length: usize) -> Passage {
    let end = passage.text.char_indices().nth(length).map_or(passage.text.len(), |(at, _)| at);
    let beginning = &passage.text[..end];
    let is_inside_a_word = passage.text[end..].starts_with(|next: char| !next.is_whitespace());
    let words = match (is_inside_a_word, beginning.rfind(char::is_whitespace)) {
        (true, Some(space)) => &beginning[..space],
        _ => beginning,
    };
    Passage { text: words.trim_end().to_owned(), ..passage.clone() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passages(texts: &[&str]) -> Vec<Passage> {
        let passage = |(index, text): (usize, &&str)| Passage {
            number: index as u32 + 1,
            title: String::new(),
            uri: String::new(),
            text: (*text).to_owned(),
        };
        texts.iter().enumerate().map(passage).collect()
    }

    fn fitted(texts: &[&str], max_tokens: usize) -> Result<Prepared, PromptError> {
        let write = |passages: &[Passage]| {
            let texts: Vec<&str> = passages.iter().map(|passage| passage.text.as_str()).collect();
            Ok(vec![Message { role: "user", content: format!("qqq {}", texts.join("|")) }])
        };
        fit(&passages(texts), max_tokens, write)
    }

    #[test]
    fn whole_passages_go_first_and_words_last() {
        /// Texts, the room, what is sent, and the numbers that are left out and cut.
        type Case<'a> = (&'a [&'a str], usize, &'a str, &'a [u32], &'a [u32]);
        let table: [Case<'_>; 6] = [
            (&[], 2, "qqq", &[], &[]),
            (&["aaa aaa", "bbb"], 100, "qqq aaa aaa|bbb", &[], &[]),
            (&["aaa aaa", "bbb"], 4, "qqq aaa aaa", &[2], &[]),
            (&["aaa aaa", "bbb"], 3, "qqq aaa", &[2], &[1]),
            (&["日本語日本語"], 5, "qqq 日本語", &[], &[1]),
            (&["aaaaaa", "bbb"], 3, "qqq aaaaa", &[2], &[1]),
        ];
        for (texts, max_tokens, content, left_out, cut) in table {
            let prepared = fitted(texts, max_tokens).unwrap();
            assert_eq!(prepared.messages[0].content.trim(), content);
            assert_eq!((&prepared.left_out[..], &prepared.cut[..]), (left_out, cut), "{texts:?} {max_tokens}");
        }
        assert_eq!(fitted(&["aaa"], 1), Err(PromptError::TooLong { tokens: 2, limit: 1 }));
    }

    #[test]
    fn tokens_are_estimated_on_the_safe_side() {
        for (text, tokens) in [("", 0), ("a", 1), ("abcd", 2), ("é", 1), ("日本 x", 3)] {
            assert_eq!(estimated_tokens(text), tokens, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_limit_holds_and_nothing_is_lost_without_need(
            texts in proptest::collection::vec("[a-c日 ]{0,30}", 0..6),
            max_tokens in 2usize..60,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let prepared = fitted(&texts, max_tokens).unwrap();
            prop_assert!(tokens(&prepared.messages) <= max_tokens);
            prop_assert_eq!(prepared.passages.len() + prepared.left_out.len(), texts.len());
            if let (Some(_), true) = (prepared.left_out.first(), prepared.cut.is_empty()) {
                let more = &texts[..prepared.passages.len() + 1];
                prop_assert!(tokens(&fitted(more, 10_000).unwrap().messages) > max_tokens);
            }
        }
    }
}
