//! Reads text without markup.

use super::outline::{BlockKind, OutlineBuilder};

/// Tells `outline` that everything is visible, and that a block begins after each blank line.
pub(super) fn read(source: &str, outline: &mut OutlineBuilder<'_>) {
    let mut line_start = 0;
    let mut after_blank = true;
    for line in source.split_inclusive('\n') {
        let blank = line.trim().is_empty();
        if after_blank && !blank {
            outline.block(line_start, BlockKind::Prose);
        }
        outline.source(line_start..line_start + line.len());
        after_blank = blank;
        line_start += line.len();
    }
}
