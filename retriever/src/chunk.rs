//! Cuts a document into chunks that an encoder can take whole.
//!
//! Chunks tile the extracted text: put together in order they are that text, byte for byte. Cuts are made where the
//! text has a seam, and the widest seam that serves is taken: headings, then paragraphs, list items and code blocks,
//! then sentences or lines, then words, and only then anywhere.

mod cut;
mod merge;
mod prefix;
mod split;

use std::ops::Range;

use crate::extract::{ContentType, Outline};

pub use prefix::embedding_text;

/// Counts the tokens of a text as the encoder does, without the special tokens at its ends.
///
/// A chunk is put together from pieces that were counted one by one, so the count of a text should not be larger than
/// the sum of the counts of its parts; where it is, the chunk may exceed the limit by the difference.
pub trait TokenCounter {
    /// The number of tokens of `text`.
    fn count(&self, text: &str) -> usize;

    /// Where the tokens of `text` are, as ranges of code points in order; empty from one that only counts.
    fn places(&self, _text: &str) -> Vec<Range<usize>> {
        Vec::new()
    }
}

impl<F: Fn(&str) -> usize> TokenCounter for F {
    fn count(&self, text: &str) -> usize {
        self(text)
    }
}

/// How long chunks may become, and where a new one is started early.
#[derive(Clone, Debug, PartialEq)]
pub struct ChunkOptions {
    /// The most tokens of what is embedded of a chunk: its prefix and its indexable text. At least 1; it leaves out the
    /// special tokens that the encoder adds.
    pub max_tokens: usize,
    /// The most bytes of source text in a chunk, markup included. It bounds chunks whose text hardly counts as tokens:
    /// comments, embedded images, words too long for the encoder's vocabulary.
    pub max_bytes: usize,
    /// How full a chunk must be, as a share of its tokens from 0 to 1, for a heading to start a new one.
    pub section_fill: f32,
}

impl Default for ChunkOptions {
    fn default() -> Self {
        Self { max_tokens: 254, max_bytes: 8_192, section_fill: 0.5 }
    }
}

/// A stretch of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Counts from 0 within the document.
    pub chunk_no: u32,
    /// Where the chunk starts, in Unicode code points of the extracted text.
    pub char_start: u32,
    /// Where it ends, exclusively.
    pub char_end: u32,
    /// The slice of the extracted text.
    pub text: &'a str,
    /// What a reader sees of it. Empty for a chunk of nothing but markup; that one is kept so that the tiles are
    /// complete, but there is nothing to find in it.
    ///
    /// It depends on the whole document (a chunk may start inside a code block), so it cannot be derived from `text`
    /// alone: store it, or what was made of it, beside the chunk.
    pub indexable: String,
    /// The headings above the start of the chunk, outermost first; a heading with which it starts is the last of them.
    pub heading_path: Vec<String>,
    /// What is put before `indexable` for embedding: the title, and those headings that `indexable` does not hold.
    pub prefix: String,
}

impl Chunk<'_> {
    /// What is embedded for this chunk; it also serves as the body for the lexical leg.
    pub fn embedding_text(&self) -> String {
        embedding_text(&self.prefix, &self.indexable)
    }
}

/// Cuts `text` into chunks. An empty text makes one empty chunk, so that every document has a row.
///
/// `text` is extracted text ([`extracted_text`](crate::extract::extracted_text)), `title` the document's title, which
/// may be empty. Every chunk holds at most `options.max_bytes` bytes and what is embedded of it at most
/// `options.max_tokens` tokens, unless a single code point exceeds them, or up to 32 bytes for which the source has other
/// characters: an entity, or code with escapes. The time is linear in the text: every piece
/// is counted a few times at most, and never more than `options.max_bytes` at once.
pub fn chunk<'a>(
    text: &'a str,
    content_type: ContentType,
    title: &str,
    counter: &dyn TokenCounter,
    options: &ChunkOptions,
) -> Vec<Chunk<'a>> {
    let outline = Outline::new(content_type, text);
    let document = Document { text, title, outline: &outline, counter, options };
    let mut prefixes = prefix::Prefixes::new(&document);
    let atoms = split::atoms(&document, &mut prefixes);
    let mut ranges = merge::merge(&document, &mut prefixes, &atoms);
    if ranges.is_empty() {
        ranges.push(merge::Merged { range: 0..0, before: None, at: None });
    }
    assemble(&document, &mut prefixes, &ranges)
}

/// What every step of chunking one document needs to know.
struct Document<'a, 'd> {
    text: &'a str,
    title: &'d str,
    outline: &'d Outline<'a>,
    counter: &'d dyn TokenCounter,
    options: &'d ChunkOptions,
}

impl Document<'_, '_> {
    fn max_tokens(&self) -> usize {
        self.options.max_tokens.max(1)
    }

    fn max_bytes(&self) -> usize {
        // Four bytes hold any code point, so a cut can always be made.
        self.options.max_bytes.max(4)
    }

    fn count(&self, range: Range<usize>) -> usize {
        let visible = self.outline.visible(range);
        if visible.is_empty() { 0 } else { self.counter.count(&visible) }
    }
}

fn assemble<'a>(
    document: &Document<'a, '_>,
    prefixes: &mut prefix::Prefixes<'_, '_>,
    merged: &[merge::Merged],
) -> Vec<Chunk<'a>> {
    let mut char_start = 0_u32;
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    let make = |(index, merged): (usize, &merge::Merged)| {
        let text = &document.text[merged.range.clone()];
        let char_end = char_start.saturating_add(number(text.chars().count()));
        let indexable = document.outline.visible(merged.range.clone());
        let chunk = Chunk {
            chunk_no: number(index),
            char_start,
            char_end,
            text,
            heading_path: document.outline.heading_path(merged.at),
            prefix: prefixes.of(merged.before).without_repetition(&indexable),
            indexable,
        };
        char_start = char_end;
        chunk
    };
    merged.iter().enumerate().map(make).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Counts words, and long ones several times, as subword vocabularies do.
    fn count(text: &str) -> usize {
        text.split_whitespace().map(|word| word.chars().count().div_ceil(6)).sum()
    }

    fn options(max_tokens: usize) -> ChunkOptions {
        ChunkOptions { max_tokens, max_bytes: 400, section_fill: 0.5 }
    }

    fn chunks<'a>(text: &'a str, max_tokens: usize) -> Vec<Chunk<'a>> {
        chunk(text, ContentType::Markdown, "", &count, &options(max_tokens))
    }

    fn indexables(chunks: &[Chunk<'_>]) -> Vec<String> {
        chunks.iter().map(|chunk| chunk.indexable.clone()).collect()
    }

    #[test]
    fn an_empty_text_is_one_empty_chunk() {
        let chunks = chunk("", ContentType::Plain, "Title", &count, &ChunkOptions::default());
        assert_eq!(chunks.len(), 1);
        assert_eq!((chunks[0].char_start, chunks[0].char_end, chunks[0].text), (0, 0, ""));
        assert_eq!(chunks[0].embedding_text(), "Title");
    }

    #[test]
    fn a_short_text_is_one_chunk() {
        let text = "# One\n\ntext\n\n# Two\n\nmore\n";
        let chunks = chunks(text, 50);
        assert_eq!(indexables(&chunks), ["One\ntext\nTwo\nmore"]);
        assert_eq!(chunks[0].heading_path, ["One"]);
    }

    #[test]
    fn a_heading_starts_a_chunk_once_half_is_full() {
        let text = "# A\n\none two six\n\n## B\n\nten\n\n## C\n\nend\n";
        let chunks = chunks(text, 8);
        assert_eq!(indexables(&chunks), ["A\none two six", "B\nten\nC\nend"]);
        assert_eq!(chunks[1].heading_path, ["A", "B"]);
        assert_eq!(chunks[1].prefix, "A");
        assert_eq!(chunks[1].embedding_text(), "A\nB\nten\nC\nend");
    }

    #[test]
    fn a_heading_stays_with_what_it_heads() {
        let text = "one two\n\n# A\n\na b c d e f\n";
        assert_eq!(indexables(&chunks(text, 8)), ["one two", "A\na b c d e f"]);
    }

    #[test]
    fn code_that_fits_is_kept_whole() {
        let code = "```sh\nset a\n\nget a\n# not a heading\n```\n";
        let text = format!("{}\n\n{code}\nafter\n", "word ".repeat(10));
        let chunks = chunks(&text, 12);
        let holding = chunks.iter().find(|chunk| chunk.text.contains("```")).expect("some chunk holds the code");
        assert!(holding.text.contains(code));
        assert!(chunks.iter().all(|chunk| chunk.heading_path.is_empty()));
    }

    #[test]
    fn long_code_is_cut_at_lines_and_stays_code() {
        let code = "get a_key *b*\n".repeat(12);
        let text = format!("```\n{code}```\n");
        let chunks = chunks(&text, 10);
        assert!(chunks.len() > 2);
        for chunk in &chunks {
            assert!(chunk.indexable.lines().all(|line| line == "get a_key *b*"), "{:?}", chunk.indexable);
        }
    }

    #[test]
    fn long_paragraphs_are_cut_at_sentences() {
        let sentence = "One two three, four\nfive six seven. ";
        let text = sentence.repeat(6);
        let chunks = chunks(&text, 16);
        assert!(chunks.len() > 2);
        assert!(chunks.iter().all(|chunk| chunk.indexable.ends_with("seven.")), "{:?}", indexables(&chunks));
    }

    #[test]
    fn endless_words_are_cut_between_graphemes() {
        let text = "e\u{301}".repeat(500);
        let chunks = chunk(&text, ContentType::Plain, "", &count, &options(20));
        assert!(chunks.len() > 2);
        assert!(chunks.iter().all(|chunk| chunk.text.starts_with('e')));
    }

    #[test]
    fn what_is_shown_in_place_of_the_source_is_cut_as_well() {
        // In a table's code, a bar is written with a backslash that nobody sees.
        let text = format!("| `{}` |\n|---|\n", "x\\| ".repeat(60).trim_end());
        let chunks = chunks(&text, 20);
        assert!(chunks.len() > 2);
        assert!(chunks.iter().all(|chunk| count(&chunk.embedding_text()) <= 20), "{:?}", indexables(&chunks));
        let words: Vec<String> =
            indexables(&chunks).iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect();
        assert_eq!(words.concat(), "x|".repeat(60));
    }

    #[test]
    fn an_endless_title_leaves_room_for_the_text() {
        let title = "title ".repeat(1_000);
        let chunks = chunk("one two", ContentType::Plain, &title, &count, &options(6));
        assert_eq!(chunks[0].embedding_text(), "one two");
    }

    #[test]
    fn a_title_is_not_repeated() {
        let chunks = chunk("# ACL log\n\ntext", ContentType::Markdown, "ACL LOG", &count, &options(20));
        assert_eq!(chunks[0].embedding_text(), "ACL log\ntext");
    }

    #[test]
    fn large_inputs_are_counted_in_small_parts() {
        let inputs = ["x".repeat(300_000), "word ".repeat(60_000), "# a\n".repeat(50_000), "a. ".repeat(100_000)];
        for input in inputs {
            let calls = std::cell::Cell::new(0_usize);
            let counter = |text: &str| {
                assert!(text.len() <= 1_000);
                calls.set(calls.get() + 1);
                count(text)
            };
            let options = ChunkOptions { max_tokens: 100, max_bytes: 1_000, section_fill: 0.5 };
            let chunks = chunk(&input, ContentType::Markdown, "", &counter, &options);
            assert_eq!(chunks.iter().map(|chunk| chunk.text.len()).sum::<usize>(), input.len());
            assert!(calls.get() <= input.len() / 2, "{} calls", calls.get());
        }
    }

    fn markdown() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("# Heading one".to_owned()),
            Just("### Heading *three*".to_owned()),
            Just("```".to_owned()),
            Just("- item".to_owned()),
            Just("> quote".to_owned()),
            Just("    indented".to_owned()),
            Just("| a | b |".to_owned()),
            Just("|---|---|".to_owned()),
            Just("<!-- hidden".to_owned()),
            Just("<div>shown</div>".to_owned()),
            Just("{{< tag >}}".to_owned()),
            Just(String::new()),
            Just("[link text](https://example.org/a-very-long-target/which/nobody/reads) &amp; more.".to_owned()),
            "[a-z]{1,40}",
            "([a-z]{1,8} ){1,20}[.!?]",
            "\\PC{0,30}",
        ];
        proptest::collection::vec(line, 0..30).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn chunks_tile_the_text_and_fit(
            text in prop_oneof![markdown(), any::<String>()],
            plain: bool,
            title in "([A-Za-z]{1,9} ){0,6}",
            max_tokens in 1_usize..40,
            max_bytes in 0_usize..300,
        ) {
            let content_type = if plain { ContentType::Plain } else { ContentType::Markdown };
            let options = ChunkOptions { max_tokens, max_bytes, section_fill: 0.5 };
            let chunks = chunk(&text, content_type, &title, &count, &options);
            let tiled: String = chunks.iter().map(|chunk| chunk.text).collect();
            prop_assert_eq!(&tiled, &text);
            let mut char_end = 0;
            for (index, chunk) in chunks.iter().enumerate() {
                prop_assert_eq!(chunk.chunk_no as usize, index);
                prop_assert_eq!(chunk.char_start, char_end);
                prop_assert_eq!((chunk.char_end - chunk.char_start) as usize, chunk.text.chars().count());
                char_end = chunk.char_end;
                prop_assert!(chunk.text.len() <= max_bytes.max(4));
                prop_assert!(count(&chunk.embedding_text()) <= max_tokens, "{:?}", chunk);
                prop_assert!(!chunk.text.is_empty() || text.is_empty());
            }
        }

        #[test]
        fn chunks_hold_every_visible_word(text in markdown()) {
            let chunks = chunk(&text, ContentType::Markdown, "", &count, &options(8));
            let words = |text: &str| text.chars().filter(|character| !character.is_whitespace()).collect::<String>();
            let whole = words(&crate::extract::indexable(ContentType::Markdown, &text));
            prop_assert_eq!(words(&indexables(&chunks).concat()), whole);
        }
    }
}
