//! What is put before a chunk's own text, so that it can be understood by itself.

use super::Document;

/// A title or heading is clipped to this many code points.
const MAX_PART_CHARS: usize = 160;
/// So many of the innermost headings are used.
const MAX_HEADINGS: usize = 2;

/// What is embedded of a chunk: its prefix, a newline, and what a reader sees of it.
pub fn embedding_text(prefix: &str, indexable: &str) -> String {
    match (prefix.is_empty(), indexable.is_empty()) {
        (true, _) => indexable.to_owned(),
        (_, true) => prefix.to_owned(),
        _ => format!("{prefix}\n{indexable}"),
    }
}

/// The prefix of all chunks that start within one section.
#[derive(Clone, Debug, Default)]
pub(super) struct Prefix {
    lines: Vec<String>,
    /// An upper bound of the tokens of all lines.
    pub tokens: usize,
}

impl Prefix {
    /// The prefix for a chunk which starts with `indexable`, without a line with which that starts itself.
    pub fn without_repetition(&self, indexable: &str) -> String {
        let first_line = indexable.lines().next().unwrap_or_default();
        let kept: Vec<&str> =
            self.lines.iter().map(String::as_str).filter(|line| !same_words(line, first_line)).collect();
        kept.join("\n")
    }
}

/// Makes prefixes, and remembers the last one, since chunks come section by section.
pub(super) struct Prefixes<'d, 'a> {
    document: &'d Document<'a, 'd>,
    last: Option<(Option<usize>, Prefix)>,
}

impl<'d, 'a> Prefixes<'d, 'a> {
    pub fn new(document: &'d Document<'a, 'd>) -> Self {
        Self { document, last: None }
    }

    /// The prefix of a chunk in front of which `section` is the innermost open one.
    pub fn of(&mut self, section: Option<usize>) -> Prefix {
        if let Some((_, prefix)) = self.last.as_ref().filter(|(known, _)| *known == section) {
            return prefix.clone();
        }
        let prefix = self.make(section);
        self.last = Some((section, prefix.clone()));
        prefix
    }

    /// Title and headings, or the title alone, or nothing: the first that takes at most a third of the tokens, for the
    /// chunk's own text matters more.
    fn make(&self, section: Option<usize>) -> Prefix {
        let title = clip(self.document.title);
        let path = self.document.outline.heading_path(section);
        let mut lines: Vec<String> = Vec::new();
        let innermost = &path[path.len().saturating_sub(MAX_HEADINGS)..];
        for line in std::iter::once(title).chain(innermost.iter().map(|heading| clip(heading))) {
            if !line.is_empty() && !lines.iter().any(|known| same_words(known, &line)) {
                lines.push(line);
            }
        }
        let limit = self.document.max_tokens() / 3;
        loop {
            let tokens = lines.iter().map(|line| self.document.counter.count(line)).sum();
            if tokens <= limit || lines.is_empty() {
                return Prefix { lines, tokens };
            }
            lines.truncate(usize::from(lines.len() > 1));
        }
    }
}

fn same_words(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.trim().to_lowercase()
}

fn clip(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().take(MAX_PART_CHARS).collect()
}
