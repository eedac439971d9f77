//! Wraps text to a width while it arrives piece by piece.

use super::style::Style;

/// A paragraph in the making. Words are held back until they are complete, so
/// that none is broken at the edge; line ends of the text are kept.
#[derive(Debug)]
pub struct Flow {
    style: Style,
    indent: usize,
    width: usize,
    /// Characters on the current line; 0 before its first word.
    column: usize,
    word: String,
}

impl Flow {
    /// Text of at most `width` characters a line, `indent` spaces before each.
    pub fn new(style: Style, width: usize, indent: usize) -> Self {
        Self { style, indent, width: width.max(indent + 10), column: 0, word: String::new() }
    }

    /// What can be shown now that `piece` has come.
    pub fn push(&mut self, piece: &str) -> String {
        let mut out = String::new();
        for c in piece.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')) {
            if c == '\n' {
                self.end_word(&mut out);
                out.push('\n');
                self.column = 0;
            } else if c.is_whitespace() {
                self.end_word(&mut out);
            } else {
                self.word.push(c);
            }
        }
        out
    }

    /// The rest, once nothing more comes; ends the last line.
    pub fn finish(&mut self) -> String {
        let mut out = String::new();
        self.end_word(&mut out);
        if self.column > 0 {
            out.push('\n');
            self.column = 0;
        }
        out
    }

    fn end_word(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        let word = std::mem::take(&mut self.word);
        let length = word.chars().count();
        if self.column > 0 && self.column + 1 + length > self.width {
            out.push('\n');
            self.column = 0;
        }
        if self.column == 0 {
            out.push_str(&" ".repeat(self.indent));
            self.column = self.indent;
        } else {
            out.push(' ');
            self.column += 1;
        }
        self.column += length;
        out.push_str(&if is_citation(&word) { self.style.mark(&word) } else { word });
    }
}

/// Wraps a whole text.
pub fn wrap(style: Style, text: &str, width: usize, indent: usize) -> String {
    let mut flow = Flow::new(style, width, indent);
    let mut out = flow.push(text);
    out.push_str(&flow.finish());
    out
}

/// `[3]`, perhaps with punctuation behind it.
fn is_citation(word: &str) -> bool {
    let inside = word.strip_prefix('[').and_then(|rest| rest.trim_end_matches(['.', ',', ';']).strip_suffix(']'));
    inside.is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b']' || byte == b'[')
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_wrapped_and_lines_are_kept() {
        let text = "one two three four\nfive\n\nsix";
        assert_eq!(wrap(Style::PLAIN, text, 12, 2), "  one two\n  three four\n  five\n\n  six\n");
        assert_eq!(wrap(Style::PLAIN, "", 12, 2), "");
        assert_eq!(wrap(Style::PLAIN, "averyveryverylongword x", 12, 0), "averyveryverylongword\nx\n");
    }

    #[test]
    fn citations_are_recognised() {
        for word in ["[1]", "[12].", "[1][2]"] {
            assert!(is_citation(word), "{word}");
        }
        for word in ["[]", "[a]", "1", "[1", "x[1]"] {
            assert!(!is_citation(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_text_is_cut(text in "([a-zé\\[\\]1]{1,9}|[ \n]){0,40}", cut in 0_usize..200) {
            let whole = wrap(Style::PLAIN, &text, 24, 2);
            let cut = text.char_indices().map(|(at, _)| at).nth(cut).unwrap_or(text.len());
            let mut flow = Flow::new(Style::PLAIN, 24, 2);
            let pieces = [flow.push(&text[..cut]), flow.push(&text[cut..]), flow.finish()].concat();
            prop_assert_eq!(&pieces, &whole);
            let words: Vec<&str> = text.split_whitespace().collect();
            prop_assert_eq!(whole.split_whitespace().collect::<Vec<_>>(), words);
            // Only a word that fits on no line goes beyond the edge, and then it has a line of its own.
            let fits = |line: &str| line.chars().count() <= 24 || !line[2..].contains(' ');
            prop_assert!(whole.lines().all(fits));
        }
    }
}
