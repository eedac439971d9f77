//! Quoted phrases.

/// Pairs of quotation marks. Apostrophes are none: they stand inside of words.
const MARKS: [(char, char); 6] = [('"', '"'), ('“', '”'), ('„', '“'), ('„', '”'), ('«', '»'), ('「', '」')];

/// Whether two words or more stand between quotation marks, or the whole query does.
pub(super) fn has_phrase(query: &str) -> bool {
    let query = query.trim();
    MARKS.iter().any(|(open, close)| {
        let wholly = inner(query, *open, *close).is_some_and(|inner| !inner.trim().is_empty());
        wholly || phrases(query, *open, *close).any(|phrase| phrase.split_whitespace().nth(1).is_some())
    })
}

/// What stands between the marks when nothing stands outside of them.
fn inner(query: &str, open: char, close: char) -> Option<&str> {
    let inner = query.strip_prefix(open)?.strip_suffix(close)?;
    (!inner.contains([open, close])).then_some(inner)
}

fn phrases(query: &str, open: char, close: char) -> impl Iterator<Item = &str> {
    let mut rest = query;
    std::iter::from_fn(move || {
        let (_, after) = rest.split_once(open)?;
        let (phrase, after) = after.split_once(close)?;
        rest = after;
        Some(phrase)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_told_from_single_words() {
        let quoted = [
            r#"where does it say "connection reset by peer""#,
            r#""timeout""#,
            r#"  "timeout"  "#,
            "“exact words” please",
            "was heißt „nicht gefunden“",
            "«not found»",
            r#"a "b" and "c d""#,
        ];
        for query in quoted {
            assert!(has_phrase(query), "{query}");
        }
        let plain = [
            "",
            r#"""#,
            r#""""#,
            r#"" ""#,
            "where does it say that",
            r#"what does "timeout" mean"#,
            r#"a "b" c "d" e"#,
            r#""a" or "b""#,
            r#"a 5" disk"#,
            "don't say 'not found' to users' clients",
            "“unclosed words here",
        ];
        for query in plain {
            assert!(!has_phrase(query), "{query}");
        }
    }
}
