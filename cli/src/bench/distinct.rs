//! Queries that nobody has asked before, so that nothing is remembered of them.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// What a number is written with behind a query. The encoder reads them all as one blank.
const BLANKS: [char; 3] = [' ', '\t', '\n'];

/// The query with blanks behind it that no earlier call of this or an earlier process had: the services remember recent
/// analyses by their text, and the query's meaning and tokens stay what they are.
pub fn distinct(query: &str) -> String {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    // Processes begin at the microsecond at which they do, and make fewer calls than that.
    let next = NEXT.get_or_init(|| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        AtomicU64::new(u64::try_from(since.as_micros()).unwrap_or_default())
    });
    numbered(query, next.fetch_add(1, Ordering::Relaxed))
}

/// The query with the number behind it, one blank for each digit in base 3, the last digit first.
fn numbered(query: &str, mut number: u64) -> String {
    let mut text = query.trim_end().to_owned();
    loop {
        text.push(BLANKS[(number % 3) as usize]);
        number /= 3;
        if number == 0 {
            return text;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_number_gives_another_text_of_the_same_words() {
        let texts: HashSet<String> = (0..1_000).map(|number| numbered("how high is it? ", number)).collect();
        assert_eq!(texts.len(), 1_000);
        assert!(texts.iter().all(|text| text.trim_end() == "how high is it?"));
        assert!(numbered("q", u64::MAX).len() < 50);
        assert_ne!(distinct("q"), distinct("q"));
    }
}
