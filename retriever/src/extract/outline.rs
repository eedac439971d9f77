//! The structure of one text: what is visible where, and where its blocks and sections begin.

use std::borrow::Cow;
use std::ops::Range;

use super::{ContentType, markdown, plain};

/// What a block is, which decides where it may be cut when it is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A heading; the index is that of the section which it opens.
    Heading(usize),
    /// Running text, cut at sentences.
    Prose,
    /// Code or a table, cut at lines.
    Lines,
}

/// One block: it reaches from `start` to the start of the next one, so that blocks tile the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Byte offset in the source.
    pub start: usize,
    pub kind: BlockKind,
    /// The section that was open before this block; a heading belongs to the section that encloses it.
    pub section: Option<usize>,
}

/// One heading and what lies under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Section {
    pub parent: Option<usize>,
    /// 1 to 6.
    pub level: u8,
    /// The words of the heading.
    pub title: String,
}

/// A text taken apart once, so that the visible words of any range can be asked for afterwards.
///
/// A chunk that begins in the middle of a code block cannot be parsed by itself: only the whole document says that it
/// is code.
pub(crate) struct Outline<'a> {
    source: &'a str,
    pieces: Vec<Piece<'a>>,
    blocks: Vec<Block>,
    sections: Vec<Section>,
}

/// A visible stretch of text. Pieces lie in source order and do not overlap.
struct Piece<'a> {
    range: Range<usize>,
    /// `None` when the source itself is what a reader sees there, so that the piece may be cut anywhere.
    literal: Option<Cow<'a, str>>,
}

/// A literal longer than this is shown as its source instead, so that every long piece can be cut.
const MAX_LITERAL_BYTES: usize = 256;

/// A literal longer than this is cut into parts, each at its share of the source, so that a chunk can end between two.
const MAX_PART_BYTES: usize = 32;

/// A block of prose shorter than this takes in the next one, which keeps the number of blocks bounded by the text.
const MIN_PROSE_BYTES: usize = 48;

/// The title of a section is clipped to this many code points, for every chunk below repeats it.
const MAX_HEADING_CHARS: usize = 300;

impl<'a> Outline<'a> {
    /// Takes `source` apart, in time linear in its length.
    pub fn new(content_type: ContentType, source: &'a str) -> Self {
        let mut builder = OutlineBuilder::new(source);
        match content_type {
            ContentType::Markdown => markdown::read(source, &mut builder),
            ContentType::Plain => plain::read(source, &mut builder),
        }
        builder.finish()
    }

    /// What a reader sees of `range` (bytes on character boundaries), without white space around it.
    pub fn visible(&self, range: Range<usize>) -> String {
        let first =
            self.pieces.partition_point(|piece| piece.range.end <= range.start && piece.range.start < range.start);
        let mut text = String::new();
        for piece in self.pieces[first..].iter().take_while(|piece| piece.range.start < range.end) {
            match &piece.literal {
                None => {
                    let start = piece.range.start.max(range.start);
                    text.push_str(&self.source[start..piece.range.end.min(range.end)]);
                }
                // A literal cannot be cut, so it belongs to the range in which it starts.
                Some(literal) if piece.range.start >= range.start => text.push_str(literal),
                Some(_) => {}
            }
        }
        let trimmed = text.trim();
        if trimmed.len() == text.len() { text } else { trimmed.to_owned() }
    }

    /// The blocks in order; the first starts at 0, and an empty text has none.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The sections in order of their headings.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The headings from the outermost one down to that of `section`.
    pub fn heading_path(&self, section: Option<usize>) -> Vec<String> {
        let mut path = Vec::new();
        let mut next = section;
        while let Some(section) = next.map(|index| &self.sections[index]) {
            if !section.title.is_empty() {
                path.push(section.title.clone());
            }
            next = section.parent;
        }
        path.reverse();
        path
    }
}

/// Collects an outline while a reader walks through the source from front to back.
pub(super) struct OutlineBuilder<'a> {
    source: &'a str,
    pieces: Vec<Piece<'a>>,
    blocks: Vec<Block>,
    sections: Vec<Section>,
    open_section: Option<usize>,
    /// A break that becomes visible only if more text follows it.
    pending_break: Option<&'static str>,
    /// How many pieces there were when the current block started.
    pieces_at_block: usize,
}

impl<'a> OutlineBuilder<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            source,
            pieces: Vec::new(),
            blocks: Vec::new(),
            sections: Vec::new(),
            open_section: None,
            pending_break: None,
            pieces_at_block: 0,
        }
    }

    /// Says that the source itself is visible in `range`.
    pub fn source(&mut self, range: Range<usize>) {
        self.push(range, None);
    }

    /// Says that `literal` is visible in place of the source in `range`.
    pub fn literal(&mut self, range: Range<usize>, literal: Cow<'a, str>) {
        let as_source = literal.len() > MAX_LITERAL_BYTES || self.source.get(range.clone()) == Some(literal.as_ref());
        match literal {
            _ if as_source => self.push(range, None),
            short if short.len() <= MAX_PART_BYTES => self.push(range, Some(short)),
            long => self.literal_in_parts(&range, &long),
        }
    }

    fn literal_in_parts(&mut self, range: &Range<usize>, literal: &str) {
        let source = self.source;
        let share = |bytes: usize| source.floor_char_boundary(range.start + range.len() * bytes / literal.len());
        let mut from = 0;
        while from < literal.len() {
            let to = literal.floor_char_boundary(from + MAX_PART_BYTES);
            self.push(share(from)..share(to), Some(Cow::Owned(literal[from..to].to_owned())));
            from = to;
        }
    }

    /// Parts what was visible before from what comes after; of several breaks in a row a newline wins over a space.
    pub fn line_break(&mut self) {
        self.pending_break = Some("\n");
    }

    /// Parts two words on the same line.
    pub fn space(&mut self) {
        self.pending_break.get_or_insert(" ");
    }

    /// Starts a block at `start`.
    pub fn block(&mut self, start: usize, kind: BlockKind) {
        self.line_break();
        let start = self.line_start(start);
        let section = self.open_section;
        if let Some(last) = self.blocks.last_mut() {
            let invisible = self.pieces.len() == self.pieces_at_block;
            let short = start.saturating_sub(last.start) < MIN_PROSE_BYTES;
            let both_prose = last.kind == BlockKind::Prose && kind == BlockKind::Prose;
            let is_heading = matches!(last.kind, BlockKind::Heading(_));
            if !is_heading && (invisible || (both_prose && short)) {
                last.kind = kind;
                last.section = section;
                return;
            }
        }
        let start = if self.blocks.is_empty() { 0 } else { start };
        self.blocks.push(Block { start, kind, section });
        self.pieces_at_block = self.pieces.len();
    }

    /// Starts a heading of `level` (1 to 6), which closes all sections that are not above it.
    pub fn heading(&mut self, start: usize, level: u8) {
        let mut parent = self.open_section;
        while let Some(index) = parent.filter(|&index| self.sections[index].level >= level) {
            parent = self.sections[index].parent;
        }
        self.open_section = parent;
        let index = self.sections.len();
        self.block(start, BlockKind::Heading(index));
        self.sections.push(Section { parent, level, title: String::new() });
        self.open_section = Some(index);
    }

    /// Ends the heading that was started last; its words become the title of the section.
    pub fn heading_end(&mut self) {
        let mut title = String::new();
        for piece in &self.pieces[self.pieces_at_block..] {
            title.push_str(piece.literal.as_deref().unwrap_or(&self.source[piece.range.clone()]));
        }
        if let Some(section) = self.sections.last_mut() {
            let words = title.split_whitespace().collect::<Vec<_>>().join(" ");
            section.title = words.chars().take(MAX_HEADING_CHARS).collect();
        }
    }

    fn push(&mut self, range: Range<usize>, literal: Option<Cow<'a, str>>) {
        let floor = self.pieces.last().map_or(0, |piece| piece.range.end);
        let start = range.start.max(floor);
        let range = start..range.end.max(start);
        if literal.as_ref().map_or(range.is_empty(), |literal| literal.is_empty()) {
            return;
        }
        let pending = self.pending_break.take();
        if let Some(text) = pending.filter(|_| !self.pieces.is_empty() && !self.at_line_start()) {
            self.pieces.push(Piece { range: start..start, literal: Some(Cow::Borrowed(text)) });
        }
        self.pieces.push(Piece { range, literal });
    }

    /// Whether what was visible last ended its line itself.
    fn at_line_start(&self) -> bool {
        let last =
            self.pieces.last().map(|piece| piece.literal.as_deref().unwrap_or(&self.source[piece.range.clone()]));
        last.is_some_and(|text| text.ends_with('\n'))
    }

    /// Moves `start` back over indentation, so that a cut never parts a line from its indent.
    fn line_start(&self, start: usize) -> usize {
        let before = self.source[..start].trim_end_matches([' ', '\t']);
        if before.is_empty() || before.ends_with('\n') { before.len() } else { start }
    }

    fn finish(mut self) -> Outline<'a> {
        if self.blocks.is_empty() && !self.source.is_empty() {
            self.blocks.push(Block { start: 0, kind: BlockKind::Prose, section: None });
        }
        Outline { source: self.source, pieces: self.pieces, blocks: self.blocks, sections: self.sections }
    }
}
