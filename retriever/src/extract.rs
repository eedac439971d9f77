//! From what a client sent to the words that a reader sees.
//!
//! Two texts are kept apart. The *extracted text* is the client's own text, byte for byte except for line ends and a
//! byte order mark: chunks tile it, spans point into it, and it can be given back. The *indexable* text of a range is
//! what a reader sees there, without markup: it is what gets embedded, and what the lexical leg indexes.

mod html;
mod markdown;
mod outline;
mod plain;
mod shortcode;

use std::fmt;
use std::str::FromStr;

pub(crate) use outline::{Block, BlockKind, Outline};

/// How a document's text is marked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// CommonMark with tables, footnotes, task lists, HTML and the shortcodes of common site generators.
    Markdown,
    /// Text without markup, in paragraphs parted by blank lines.
    #[default]
    Plain,
}

impl ContentType {
    /// The media type, as stored with each chunk.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Markdown => "text/markdown",
            Self::Plain => "text/plain",
        }
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A media type that is neither `text/markdown` nor `text/plain`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown content type {0:?}: text/markdown and text/plain are supported")]
pub struct UnknownContentType(pub String);

impl FromStr for ContentType {
    type Err = UnknownContentType;

    /// Reads a media type; parameters after a semicolon and letter case do not matter.
    fn from_str(media_type: &str) -> Result<Self, Self::Err> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        match essence.to_ascii_lowercase().as_str() {
            "text/markdown" => Ok(Self::Markdown),
            "text/plain" => Ok(Self::Plain),
            _ => Err(UnknownContentType(media_type.to_owned())),
        }
    }
}

/// The text that chunks tile: `raw` without a leading byte order mark, and with `\n` at the end of every line in place of
/// `\r\n`.
///
/// Applying it twice changes nothing.
pub fn extracted_text(raw: &str) -> String {
    let raw = raw.trim_start_matches('\u{feff}');
    let mut text = String::with_capacity(raw.len());
    for line in raw.split_inclusive('\n') {
        match line.strip_suffix('\n') {
            // Files that were converted twice have several carriage returns in a row.
            Some(content) => {
                text.push_str(content.trim_end_matches('\r'));
                text.push('\n');
            }
            None => text.push_str(line),
        }
    }
    text
}

/// The words a reader sees in a whole text, blocks parted by a newline.
///
/// Dropped are link targets, image addresses, HTML tags and comments, shortcodes, front matter, emphasis marks and
/// table rules; link texts, headings, image descriptions and all code are kept.
pub fn indexable(content_type: ContentType, text: &str) -> String {
    Outline::new(content_type, text).visible(0..text.len())
}

/// The first heading of a Markdown document that has words in it, for documents that come without a title.
pub fn first_heading(content_type: ContentType, text: &str) -> Option<String> {
    let outline = Outline::new(content_type, text);
    outline.sections().iter().map(|section| section.title.clone()).find(|title| !title.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn markdown_keeps_the_words_and_drops_the_marks() {
        let table = [
            ("# Set *up* the `cf` tool", "Set up the cf tool"),
            ("See [the guide](https://example.org/a_b?c=d \"tip\").", "See the guide."),
            ("![the architecture](images/arch.png)", "the architecture"),
            ("a\n\nb", "a\nb"),
            ("one\ntwo", "one two"),
            ("x <b>bold</b><!-- secret --> y", "x bold y"),
            ("one<br/>two", "one\ntwo"),
            ("<div class=\"note\">\nRead this\n<!-- not this -->\n</div>\n", "Read this"),
            ("<script>\nlet a = 1;\n</script>\n\nafter", "after"),
            ("| a | b |\n|---|---|\n| 1 | 2 |\n", "a b\n1 2"),
            ("- one\n- two\n  - three\n", "one\ntwo\nthree"),
            ("```sh\nredis-cli <port> # {{ .Values.x }}\n```\n", "redis-cli <port> # {{ .Values.x }}"),
            ("{{< tabs >}}\ntext {{% ref \"x.md\" %}} more\n{{< /tabs >}}", "text  more"),
            ("[docs]({{ site.baseurl }}/docs/x) here", "docs here"),
            ("{% alert title=\"Note\" %}\nMind this.\n{% /alert %}", "Mind this."),
            ("a &amp; b \\* c", "a & b * c"),
            ("Claim[^1].\n\n[^1]: Source.\n", "Claim.\nSource."),
            ("- [x] done\n", "done"),
            ("---\ntitle: Hidden\n---\nShown\n", "Shown"),
            ("a\n\n---\nb\n\n---\nc", "a\nb\nc"),
            ("", ""),
        ];
        for (source, expected) in table {
            assert_eq!(indexable(ContentType::Markdown, source), expected, "{source:?}");
        }
    }

    #[test]
    fn highlight_shortcodes_hold_code() {
        let source = "{{< highlight bash >}}\n# not a heading\nmake *all*\n{{< / highlight >}}\nafter\n";
        let outline = Outline::new(ContentType::Markdown, source);
        assert!(outline.sections().is_empty());
        assert_eq!(outline.visible(0..source.len()), "# not a heading\nmake *all*\nafter");
    }

    #[test]
    fn plain_text_is_kept_as_it_is() {
        assert_eq!(indexable(ContentType::Plain, "  # a *b* <c>\n\nd\n"), "# a *b* <c>\n\nd");
    }

    #[test]
    fn line_ends_are_normalised_and_nothing_else() {
        let table = [
            ("\u{feff}a\r\nb\r\n", "a\nb\n"),
            ("a\r\r\n", "a\n"),
            ("a\rb\r", "a\rb\r"),
            (" a \t\n\n", " a \t\n\n"),
            ("a\u{feff}\0", "a\u{feff}\0"),
        ];
        for (raw, expected) in table {
            assert_eq!(extracted_text(raw), expected, "{raw:?}");
        }
    }

    #[test]
    fn the_first_heading_with_words_is_the_title() {
        let table = [
            ("text\n\n## ACL *LOG*\n\n# Later", Some("ACL LOG")),
            ("#\n\n# Real", Some("Real")),
            ("Setext\n======\n", Some("Setext")),
            ("no heading", None),
        ];
        for (source, expected) in table {
            assert_eq!(first_heading(ContentType::Markdown, source).as_deref(), expected, "{source:?}");
        }
        assert_eq!(first_heading(ContentType::Plain, "# not Markdown"), None);
    }

    #[test]
    fn media_types_are_read_leniently() {
        assert_eq!("Text/Markdown; charset=utf-8".parse(), Ok(ContentType::Markdown));
        assert_eq!("text/plain".parse(), Ok(ContentType::Plain));
        assert_eq!("text/html".parse::<ContentType>(), Err(UnknownContentType("text/html".to_owned())));
    }

    proptest! {
        #[test]
        fn extraction_is_idempotent(raw in "\\PC{0,20}|(\r\n|\r|\n|\u{feff}|a){0,20}") {
            let once = extracted_text(&raw);
            prop_assert!(!once.contains("\r\n"));
            prop_assert_eq!(extracted_text(&once), once);
        }

        #[test]
        fn any_text_can_be_read_as_markdown(source in "([#*`<>\\[\\]()!{}%|:~_ \n-]|[a-c]|é|&amp;){0,80}") {
            let visible = indexable(ContentType::Markdown, &source);
            prop_assert_eq!(visible.trim(), visible.as_str());
        }
    }
}
