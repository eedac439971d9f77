//! HTML inside Markdown: the text between tags is visible, the tags are not.

use std::ops::Range;

/// The visible stretches of `html`, as byte ranges into it, each on one line and without white space around it.
pub(super) fn visible_ranges(html: &str) -> Vec<Range<usize>> {
    let mut visible = Vec::new();
    let mut at = 0;
    while at < html.len() {
        let text_end = next_tag(html, at).unwrap_or(html.len());
        push_lines(html, at..text_end, &mut visible);
        at = if text_end < html.len() { text_end + tag_length(&html[text_end..]) } else { text_end };
    }
    visible
}

/// Where the next tag, comment or declaration begins; a lone `<` is text.
fn next_tag(html: &str, from: usize) -> Option<usize> {
    let opens = |next: &u8| next.is_ascii_alphabetic() || matches!(next, b'/' | b'!' | b'?');
    let bytes = html.as_bytes();
    (from..bytes.len()).find(|&at| bytes[at] == b'<' && bytes.get(at + 1).is_some_and(opens))
}

/// The bytes of the tag that `rest` begins with; an element that holds no readable text goes with its content. What
/// is never closed reaches to the end.
fn tag_length(rest: &str) -> usize {
    let until = |end: &str| {
        let mut windows = rest.as_bytes().windows(end.len());
        windows.position(|window| window.eq_ignore_ascii_case(end.as_bytes())).map_or(rest.len(), |at| at + end.len())
    };
    if rest.starts_with("<!--") {
        return until("-->");
    }
    for (name, end) in [("script", "</script>"), ("style", "</style>")] {
        let opens = rest.get(1..1 + name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        if opens {
            return until(end);
        }
    }
    until(">")
}

fn push_lines(html: &str, range: Range<usize>, visible: &mut Vec<Range<usize>>) {
    let mut start = range.start;
    for line in html[range].split_inclusive('\n') {
        let trimmed = line.trim();
        if !trimmed.is_empty() {
            let indent = line.len() - line.trim_start().len();
            visible.push(start + indent..start + indent + trimmed.len());
        }
        start += line.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_between_tags_is_visible() {
        let table: [(&str, &[&str]); 7] = [
            ("<p>Hello <b>you</b></p>", &["Hello", "you"]),
            ("a < b <br/> c", &["a < b", "c"]),
            ("<!-- a > b --> c", &["c"]),
            ("<style>p { }</style>d", &["d"]),
            ("<SCRIPT src=x>if (a) {}</Script>e", &["e"]),
            ("f <unclosed g", &["f"]),
            ("<li>\n  one\n  two\n</li>", &["one", "two"]),
        ];
        for (html, expected) in table {
            let found: Vec<&str> = visible_ranges(html).into_iter().map(|range| &html[range]).collect();
            assert_eq!(found, expected, "{html:?}");
        }
    }

    proptest! {
        #[test]
        fn ranges_are_ordered_and_on_boundaries(html in "([<>!/ \n-]|script|p|é){0,60}") {
            let mut last = 0;
            for range in visible_ranges(&html) {
                prop_assert!(last <= range.start && range.start < range.end);
                prop_assert!(html.get(range.clone()).is_some());
                last = range.end;
            }
        }
    }
}
