//! The stretches of a text that sentences do not cross, by the marks of Markdown. Pure.

use std::ops::Range;

/// A line without a stop and with no more words than this, alone in its paragraph, is a
/// heading whether it is marked as one or not.
const LONGEST_HEADING_WORDS: usize = 8;

/// A stretch of text that may be quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// A command: code of one line, which is quoted whole. Longer code cannot stand in a
    /// sentence, and is left out.
    Code(Range<usize>),
    /// A paragraph or list item.
    Prose(Range<usize>),
}

/// The blocks of a text, in order. Headings, table rows, rules, pictures, definitions of
/// links and tags that stand alone are left out: they name things and say nothing of them.
pub(super) fn blocks(text: &str) -> Vec<Block> {
    let mut reader = Reader { text, blocks: Vec::new(), open: Open::Nothing, after_blank: true, in_list: false };
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        reader.line(line, offset..offset + line.len());
        offset += line.len();
    }
    // A fence that is never closed holds code to the end.
    reader.close();
    reader.blocks
}

struct Reader<'a> {
    text: &'a str,
    blocks: Vec<Block>,
    open: Open,
    after_blank: bool,
    /// Indented lines after a list's item belong to it; elsewhere they are code.
    in_list: bool,
}

/// The block under way.
enum Open {
    Nothing,
    Paragraph(Range<usize>),
    Item(Range<usize>),
    Fenced(Range<usize>),
    Indented(Range<usize>),
}

impl Reader<'_> {
    fn line(&mut self, line: &str, range: Range<usize>) {
        let is_fence = line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~");
        if let Open::Fenced(code) = &mut self.open {
            if is_fence {
                self.close();
            } else {
                code.end = range.end;
            }
            return;
        }
        let kind = kind(line);
        let was_blank = std::mem::replace(&mut self.after_blank, matches!(kind, Kind::Blank));
        match kind {
            _ if is_fence => self.begin(Open::Fenced(range.end..range.end)),
            Kind::Blank => self.close(),
            Kind::Apart => {
                self.close();
                self.in_list = false;
            }
            // The line above it is a heading.
            Kind::Underline if matches!(self.open, Open::Paragraph(_)) => self.open = Open::Nothing,
            Kind::Underline => self.close(),
            Kind::Item { mark } => {
                self.begin(Open::Item(range.start + mark..range.end));
                self.in_list = true;
            }
            Kind::Text { is_indented } => self.text_line(is_indented, was_blank, range),
        }
    }

    fn text_line(&mut self, is_indented: bool, was_blank: bool, range: Range<usize>) {
        self.in_list &= is_indented || !was_blank;
        match &mut self.open {
            Open::Paragraph(open) | Open::Item(open) => open.end = range.end,
            Open::Indented(open) if is_indented => open.end = range.end,
            _ if is_indented && was_blank && !self.in_list => self.begin(Open::Indented(range)),
            _ => self.begin(Open::Paragraph(range)),
        }
    }

    fn begin(&mut self, block: Open) {
        self.close();
        self.open = block;
    }

    fn close(&mut self) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Paragraph(range) if !is_heading(&self.text[range.clone()]) => self.blocks.push(Block::Prose(range)),
            Open::Item(range) => self.blocks.push(Block::Prose(range)),
            Open::Fenced(range) | Open::Indented(range) if self.text[range.clone()].trim().lines().count() == 1 => {
                self.blocks.push(Block::Code(range));
            }
            _ => {}
        }
    }
}

enum Kind {
    Blank,
    /// It belongs to no sentence: a heading, a table's row, a picture.
    Apart,
    /// It makes a heading of the paragraph above.
    Underline,
    /// `mark` is the length of indentation and list mark in bytes.
    Item {
        mark: usize,
    },
    Text {
        is_indented: bool,
    },
}

fn kind(line: &str) -> Kind {
    // Quoted text is read like any other.
    let body = line.trim_start_matches(['>', ' ', '\t']).trim_end();
    let indent = line.len() - line.trim_start_matches(['>', ' ', '\t']).len();
    if body.is_empty() {
        return Kind::Blank;
    }
    let hashes = body.len() - body.trim_start_matches('#').len();
    if (1..=6).contains(&hashes) && (body.len() == hashes || body[hashes..].starts_with(' ')) {
        return Kind::Apart;
    }
    if body.chars().all(|c| c == '=') || (body.len() >= 2 && body.chars().all(|c| c == '-')) {
        return Kind::Underline;
    }
    if is_apart(body) {
        return Kind::Apart;
    }
    let digits = body.len() - body.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let mark = match digits {
        0 if body.starts_with(['-', '*', '+', '•']) => body.chars().next().map_or(0, char::len_utf8),
        1..=3 if body[digits..].starts_with(['.', ')']) => digits + 1,
        _ => 0,
    };
    if mark > 0 && body[mark..].starts_with([' ', '\t']) {
        return Kind::Item { mark: indent + mark };
    }
    Kind::Text { is_indented: line.starts_with("    ") || line.starts_with('\t') }
}

/// Whether a line says nothing by itself.
fn is_apart(body: &str) -> bool {
    let is_row = body.starts_with('|') || body.matches(" | ").count() >= 2;
    let is_picture = body.starts_with("![") && body.ends_with(')');
    let is_definition = body.starts_with('[') && body.contains("]: ");
    let is_tag = body.starts_with('<') && body.ends_with('>');
    let is_rule = body.len() >= 3 && body.chars().all(|c| matches!(c, '*' | '_' | '+' | ':' | ' ' | '~'));
    is_row || is_picture || is_definition || is_tag || is_rule
}

fn is_heading(paragraph: &str) -> bool {
    let line = paragraph.trim().trim_end_matches(['*', '_', ')', '"', '”', '`']);
    let has_stop = line.ends_with(['.', '!', '?', ':', ';', ',', '…', '。', '！', '？', '：']);
    let is_ascii_script = line.chars().all(|c| c.is_ascii() || c.is_lowercase() || c.is_uppercase());
    !has_stop && is_ascii_script && !line.contains('\n') && line.split_whitespace().count() <= LONGEST_HEADING_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<&str> {
        let range = |block: Block| match block {
            Block::Code(range) | Block::Prose(range) => range,
        };
        blocks(text).into_iter().map(|block| text[range(block)].trim()).collect()
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let table: [(&str, &[&str]); 15] = [
            ("# Title\n\nText.\n## More\nText.", &["Text.", "Text."]),
            ("Title\n=====\nText.\n\nOther\n---\nText.", &["Text.", "Text."]),
            ("**Getting started**\n\nIt is easy to do.", &["It is easy to do."]),
            ("Getting started\n\nIt is easy.", &["It is easy."]),
            (
                "A line of prose that goes on without any stop\n\nText.",
                &["A line of prose that goes on without any stop", "Text."],
            ),
            ("| a | b |\n|---|---|\n| c | d |\n\nText.", &["Text."]),
            ("name | type | default\n--- | --- | ---\nx | int | 1\n\nText.", &["Text."]),
            ("![A picture.](x.png)\n[1]: http://x.org\n<div>\n***\nText.", &["Text."]),
            ("Run:\n\n    redis-cli ping\n\nDone.", &["Run:", "redis-cli ping", "Done."]),
            ("Run:\n```sh\ncd a\nls\n```\nDone.", &["Run:", "Done."]),
            ("Run:\n```sh\nls\n```\nDone.", &["Run:", "ls", "Done."]),
            ("- One\n  goes on.\n\n    More of one.\n- Two.", &["One\n  goes on.", "More of one.", "Two."]),
            ("> Quoted.\n> And more.", &["> Quoted.\n> And more."]),
            ("1. One.\n2) Two.\n1987. A year.", &["One.", "Two.\n1987. A year."]),
            ("東京\n\n-5 degrees.", &["東京", "-5 degrees."]),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), expected, "{text:?}");
        }
    }
}
