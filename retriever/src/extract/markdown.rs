//! Reads Markdown.

use std::borrow::Cow;
use std::ops::Range;

use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use super::html;
use super::outline::{BlockKind, OutlineBuilder};
use super::shortcode::{self, Masked};

/// Tells `outline` what is visible in `source`, and where its blocks and headings begin.
pub(super) fn read<'a>(source: &'a str, outline: &mut OutlineBuilder<'a>) {
    let body_start = front_matter_bytes(source);
    let masked = shortcode::mask(&source[body_start..]);
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES;
    let mut reader = Reader { source, body_start, masked: &masked, outline, next_tag: 0, in_code: false };
    for (event, range) in Parser::new_ext(&masked.text, options).into_offset_iter() {
        reader.event(event, range);
    }
}

/// The length of a YAML front matter at the very start, its fences included; 0 when there is none.
///
/// The parser's own option for it is not used: it would also hide text between two horizontal rules further down.
fn front_matter_bytes(source: &str) -> usize {
    let Some(rest) = source.strip_prefix("---\n") else { return 0 };
    let mut at = source.len() - rest.len();
    for line in rest.split_inclusive('\n') {
        at += line.len();
        if matches!(line.trim_end(), "---" | "...") {
            return at;
        }
    }
    0
}

struct Reader<'a, 'm> {
    source: &'a str,
    /// The parser sees the source from here on, so all its offsets are relative to this.
    body_start: usize,
    masked: &'m Masked<'a>,
    outline: &'m mut OutlineBuilder<'a>,
    /// The first shortcode that may still lie ahead.
    next_tag: usize,
    in_code: bool,
}

impl<'a> Reader<'a, '_> {
    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(&tag, range),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.text(&text, range),
            Event::Code(text) => self.inline_code(text, range),
            Event::SoftBreak => self.outline.space(),
            Event::HardBreak => self.outline.line_break(),
            Event::InlineMath(_) | Event::DisplayMath(_) => self.outline.source(self.absolute(range)),
            Event::InlineHtml(tag) if tag.get(..3).is_some_and(|name| name.eq_ignore_ascii_case("<br")) => {
                self.outline.line_break();
            }
            // The text of HTML blocks is read when they start; of inline HTML only the tags arrive here.
            Event::Html(_) | Event::InlineHtml(_) => {}
            Event::FootnoteReference(_) | Event::Rule | Event::TaskListMarker(_) => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>, range: Range<usize>) {
        let start = self.body_start + range.start;
        match tag {
            Tag::Heading { level, .. } => self.outline.heading(start, heading_level(*level)),
            Tag::Paragraph | Tag::Item | Tag::BlockQuote(_) | Tag::FootnoteDefinition(_) => {
                self.outline.block(start, BlockKind::Prose);
            }
            Tag::CodeBlock(_) => {
                self.in_code = true;
                self.outline.block(start, BlockKind::Lines);
            }
            Tag::Table(_) => self.outline.block(start, BlockKind::Lines),
            Tag::HtmlBlock => {
                self.outline.block(start, BlockKind::Prose);
                self.html_block(range);
            }
            Tag::TableHead | Tag::TableRow => self.outline.line_break(),
            Tag::TableCell => self.outline.space(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.outline.heading_end();
                self.outline.line_break();
            }
            TagEnd::CodeBlock => {
                self.in_code = false;
                self.outline.line_break();
            }
            TagEnd::Paragraph | TagEnd::Item | TagEnd::Table | TagEnd::HtmlBlock => self.outline.line_break(),
            _ => {}
        }
    }

    fn text(&mut self, text: &CowStr<'_>, range: Range<usize>) {
        let absolute = self.absolute(range.clone());
        if self.masked.text.get(range.clone()) != Some(text.as_ref()) {
            self.outline.literal(absolute, Cow::Owned(text.to_string()));
        } else if self.in_code {
            self.outline.source(absolute);
        } else {
            self.text_without_tags(range);
        }
    }

    /// Shows `range` without the shortcodes in it; events come in source order, so no tag is looked at twice.
    fn text_without_tags(&mut self, range: Range<usize>) {
        let mut at = range.start;
        while let Some(tag) = self.masked.tags.get(self.next_tag).filter(|tag| tag.start < range.end) {
            if tag.end > at {
                self.outline.source(self.absolute(at..tag.start.max(at)));
                at = tag.end;
            }
            if tag.end > range.end {
                return;
            }
            self.next_tag += 1;
        }
        self.outline.source(self.absolute(at..range.end.max(at)));
    }

    /// Code spans keep even what looks like a shortcode: there it is what the text is about.
    fn inline_code(&mut self, text: CowStr<'_>, range: Range<usize>) {
        let span = &self.source[self.absolute(range.clone())];
        let ticks = span.len() - span.trim_start_matches('`').len();
        let inner = span.get(ticks..span.len().saturating_sub(ticks)).unwrap_or_default();
        let padding = usize::from(inner.starts_with(' ') && inner.ends_with(' ') && !inner.trim().is_empty());
        let start = self.body_start + range.start + ticks + padding;
        let code = &inner[padding..inner.len() - padding];
        // A tag inside was masked for the parser, so only the length can tell that the span was found.
        if code.len() == text.len() {
            self.outline.source(start..start + code.len());
        } else {
            self.outline.literal(self.absolute(range), Cow::Owned(text.to_string()));
        }
    }

    fn html_block(&mut self, range: Range<usize>) {
        let start = range.start;
        for visible in html::visible_ranges(&self.masked.text[range]) {
            self.outline.line_break();
            self.text_without_tags(start + visible.start..start + visible.end);
        }
    }

    fn absolute(&self, range: Range<usize>) -> Range<usize> {
        self.body_start + range.start..self.body_start + range.end
    }
}

fn heading_level(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
