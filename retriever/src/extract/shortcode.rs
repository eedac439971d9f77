//! Shortcodes and template tags of site generators (Hugo, Jekyll, Markdoc), which no reader sees.

use std::borrow::Cow;
use std::ops::Range;

/// A tag longer than this is taken for text: it is more likely an opening without its end.
const MAX_TAG_BYTES: usize = 1_000;

/// A text in which tags no longer disturb a Markdown parser, at unchanged byte offsets.
pub(super) struct Masked<'a> {
    /// The source with each tag overwritten, equally long.
    pub text: Cow<'a, str>,
    /// Where the tags are, in order.
    pub tags: Vec<Range<usize>>,
}

/// Overwrites each tag by a word of the same length, and the tags around highlighted code by code fences.
///
/// A tag may hold quotes, spaces and angle brackets, with which it would break the link or the block around it.
pub(super) fn mask(source: &str) -> Masked<'_> {
    let tags = find_tags(source);
    if tags.is_empty() {
        return Masked { text: Cow::Borrowed(source), tags };
    }
    let mut text = String::with_capacity(source.len());
    for tag in &tags {
        text.push_str(&source[text.len()..tag.start]);
        text.push_str(&stand_in(&source[tag.clone()], alone_on_line(source, tag)));
    }
    text.push_str(&source[text.len()..]);
    Masked { text: Cow::Owned(text), tags }
}

fn find_tags(source: &str) -> Vec<Range<usize>> {
    let mut tags: Vec<Range<usize>> = Vec::new();
    let mut from = 0;
    while let Some(offset) = source[from..].find('{') {
        let start = from + offset;
        let end = closing(&source[start..]).and_then(|close| tag_end(source, start, close));
        if let Some(end) = end {
            tags.push(start..end);
        }
        from = end.unwrap_or(start + 1);
    }
    tags
}

/// What closes the tag that `rest` begins with, if it begins with one.
fn closing(rest: &str) -> Option<&'static str> {
    const PAIRS: [(&str, &str); 4] = [("{{<", ">}}"), ("{{%", "%}}"), ("{{", "}}"), ("{%", "%}")];
    PAIRS.iter().find(|(open, _)| rest.starts_with(open)).map(|&(_, close)| close)
}

/// Where the tag ends that was opened at `start`; a blank line or another opening before that means that it never does,
/// which also keeps the search linear.
fn tag_end(source: &str, start: usize, close: &str) -> Option<usize> {
    let body_start = start + 2;
    let limit = (start + MAX_TAG_BYTES).min(source.len());
    for at in body_start..limit {
        let rest = &source.as_bytes()[at..];
        if rest.starts_with(close.as_bytes()) {
            return Some(at + close.len());
        }
        if [b"{{", b"{%", b"\n\n"].iter().any(|&stop| rest.starts_with(stop)) {
            return None;
        }
    }
    None
}

fn alone_on_line(source: &str, tag: &Range<usize>) -> bool {
    let before = source[..tag.start].trim_end_matches([' ', '\t']);
    let after = source[tag.end..].trim_start_matches([' ', '\t']);
    (before.is_empty() || before.ends_with('\n')) && (after.is_empty() || after.starts_with('\n'))
}

/// What takes the place of `tag`, equally long and with its line ends kept.
fn stand_in(tag: &str, alone: bool) -> String {
    let name = tag.trim_start_matches(['{', '<', '%', ' ', '/', '-']);
    if alone && name.starts_with("highlight") && !tag.contains('\n') {
        return format!("```{}", " ".repeat(tag.len() - 3));
    }
    tag.bytes().map(|byte| if byte == b'\n' { '\n' } else { 'x' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_are_found() {
        let table: [(&str, &[&str]); 7] = [
            ("a {{< ref \"b\" >}} c", &["{{< ref \"b\" >}}"]),
            ("{% raw %}{{ x }}{% endraw %}", &["{% raw %}", "{{ x }}", "{% endraw %}"]),
            ("{{ open {{ closed }}", &["{{ closed }}"]),
            ("{{ never\n\nclosed }}", &[]),
            ("{{<", &[]),
            ("{ \"json\": {\"a\": 1} }", &[]),
            ("{{% é %}}", &["{{% é %}}"]),
        ];
        for (source, expected) in table {
            let found: Vec<&str> = mask(source).tags.into_iter().map(|tag| &source[tag]).collect();
            assert_eq!(found, expected, "{source:?}");
        }
    }

    proptest! {
        #[test]
        fn masking_keeps_every_offset(source in "([{}<>% \n]|highlight|a|é){0,40}") {
            let masked = mask(&source);
            prop_assert_eq!(masked.text.len(), source.len());
            let mut last = 0;
            for tag in &masked.tags {
                prop_assert!(last <= tag.start && tag.start < tag.end);
                prop_assert_eq!(&masked.text[last..tag.start], &source[last..tag.start]);
                last = tag.end;
            }
        }
    }
}
