//! Answers, passages and figures as people read them on a terminal.

pub mod answer;
pub mod audit;
pub mod decision;
pub mod flow;
pub mod hits;
pub mod style;
pub mod table;

use crate::view::Hit;

/// Milliseconds in three digits or so.
pub fn milliseconds(ms: f64) -> String {
    match ms {
        ms if ms >= 100.0 => format!("{ms:.0} ms"),
        ms if ms >= 10.0 => format!("{ms:.1} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

/// The place of a passage: `uri:start-end` in code points.
pub fn place(hit: &Hit) -> String {
    let document = if hit.uri.is_empty() { &hit.document_id } else { &hit.uri };
    format!("{document}:{}-{}", hit.char_start, hit.char_end)
}

/// Title and headings of a passage, as a path. A first heading that repeats the title is said once.
pub fn breadcrumbs(hit: &Hit) -> String {
    let title = if hit.title.is_empty() { &hit.document_id } else { &hit.title };
    let headings = hit.heading_path.iter().skip_while(|heading| *heading == title);
    std::iter::once(title).chain(headings).map(|part| single_line(part)).collect::<Vec<_>>().join(" › ")
}

/// Text on one line, without anything that could steer a terminal.
pub fn single_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    printable(&words.join(" "))
}

/// Text without control characters other than line ends. What documents hold
/// must not move the cursor or change the terminal's state.
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || *c == '\n').collect()
}

/// The first `limit` characters, cut at a word where there is one.
pub fn excerpt(text: &str, limit: usize) -> String {
    let text = single_line(text);
    let Some((cut, _)) = text.char_indices().nth(limit) else { return text };
    let end = text[..cut].rfind(' ').filter(|end| *end > cut / 2).unwrap_or(cut);
    format!("{} …", text[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excerpts_end_at_words() {
        let table = [
            ("short", 10, "short"),
            ("two  \n words", 20, "two words"),
            ("a sentence that is too long", 14, "a sentence …"),
            ("Donaudampfschifffahrtsgesellschaft", 5, "Donau …"),
            ("äöü äöü äöü", 7, "äöü äöü …"),
        ];
        for (text, limit, expected) in table {
            assert_eq!(excerpt(text, limit), expected);
        }
    }

    #[test]
    fn documents_cannot_steer_the_terminal() {
        assert_eq!(single_line("a\u{1b}[31mred\u{7}\nb"), "a[31mred b");
    }

    #[test]
    fn a_heading_that_repeats_the_title_is_said_once() {
        let hit = Hit { title: "Guide".into(), heading_path: vec!["Guide".into(), "Set up".into()], ..Hit::default() };
        assert_eq!(breadcrumbs(&hit), "Guide › Set up");
        let bare = Hit { document_id: "a.md".into(), char_start: 3, char_end: 9, ..Hit::default() };
        assert_eq!((breadcrumbs(&bare), place(&bare)), ("a.md".into(), "a.md:3-9".into()));
    }

    #[test]
    fn milliseconds_keep_their_digits() {
        assert_eq!([0.123, 4.0, 12.34, 1234.5].map(milliseconds), ["0.12 ms", "4.00 ms", "12.3 ms", "1234 ms"]);
    }
}
