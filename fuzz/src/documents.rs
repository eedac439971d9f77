//! Documents: front matter, extraction and chunking. Chunks tile the text, fit, and lose no word.

use std::ops::Range;

use crate::{
    chunk::{Chunk, ChunkOptions, TokenCounter, chunk},
    extract::{self, ContentType},
    ingest::front_matter,
};

/// The least that a chunk is given: beside a title and a heading there must be room for what cannot be cut.
const LEAST_TOKENS: usize = 96;

/// The first three bytes say how the rest is cut: its type, the most tokens of a chunk, and the most bytes.
pub fn check(data: &[u8]) {
    let [kind, tokens, bytes, text @ ..] = data else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let content_type = if kind % 2 == 0 { ContentType::Plain } else { ContentType::Markdown };
    let options = ChunkOptions {
        max_tokens: LEAST_TOKENS + usize::from(tokens % 128),
        max_bytes: usize::from(*bytes) * 4,
        section_fill: 0.5,
    };
    let mut page = front_matter::split(text);
    assert!(text.ends_with(&page.body), "what follows the front matter is part of the text");
    let title = page.take_text(&["title"]).unwrap_or_default();
    for text in [text, &page.body] {
        is_cut_well(&extract::extracted_text(text), content_type, &title, &options);
    }
}

/// Counts words, and long ones several times, as subword vocabularies do.
struct Words;

impl TokenCounter for Words {
    fn count(&self, text: &str) -> usize {
        text.split_whitespace().map(|word| word.chars().count().div_ceil(6)).sum()
    }

    fn places(&self, _: &str) -> Vec<Range<usize>> {
        Vec::new()
    }
}

fn is_cut_well(text: &str, content_type: ContentType, title: &str, options: &ChunkOptions) {
    assert_eq!(extract::extracted_text(text), text, "extraction is idempotent");
    let heading = extract::first_heading(content_type, text);
    assert!(heading.is_none_or(|heading| !heading.trim().is_empty()));
    let chunks = chunk(text, content_type, title, &Words, options);
    tile(&chunks, text);
    for chunk in &chunks {
        assert!(chunk.text.len() <= options.max_bytes.max(4), "{chunk:?}");
        assert!(Words.count(&chunk.embedding_text()) <= options.max_tokens, "{chunk:?}");
        assert_eq!(chunk.indexable.trim(), chunk.indexable);
    }
    let visible: String = chunks.iter().map(|chunk| chunk.indexable.as_str()).collect();
    assert_eq!(characters(&visible), characters(&extract::indexable(content_type, text)), "every word is in a chunk");
}

fn tile(chunks: &[Chunk<'_>], text: &str) {
    let (mut bytes, mut characters) = (0, 0);
    for (place, chunk) in chunks.iter().enumerate() {
        assert_eq!((chunk.chunk_no as usize, chunk.char_start), (place, characters));
        assert_eq!(text.get(bytes..bytes + chunk.text.len()), Some(chunk.text));
        assert!(!chunk.text.is_empty() || text.is_empty());
        bytes += chunk.text.len();
        assert_eq!((chunk.char_end - characters) as usize, chunk.text.chars().count());
        characters = chunk.char_end;
    }
    assert_eq!(bytes, text.len(), "chunks tile the text");
}

fn characters(text: &str) -> String {
    text.chars().filter(|character| !character.is_whitespace()).collect()
}
