//! From text to tokens.

use super::FilterError;

/// Most characters of the text that an error shows.
const SHOWN_CHARS: usize = 40;

/// The smallest parts of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A name or a keyword.
    Word(&'a str),
    /// A name between backticks, which is never a keyword.
    QuotedName(&'a str),
    /// A text between double quotes, its escapes resolved.
    Text(String),
    /// A number, as it is written.
    Number(&'a str),
    /// An operator, a parenthesis or a comma.
    Symbol(&'static str),
    /// The end of the filter.
    End,
}

/// A token, and the bytes that it was read from.
#[derive(Debug, Clone)]
pub(super) struct Spanned<'a> {
    pub(super) token: Token<'a>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The longer ones first, so that `<=` is not read as `<`.
const SYMBOLS: [&str; 9] = ["!=", "<=", ">=", "=", "<", ">", "(", ")", ","];

/// Reads one token after another.
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, position: 0 }
    }

    pub(super) fn next(&mut self) -> Result<Spanned<'a>, FilterError> {
        let rest = &self.text[self.position..];
        let start = self.position + (rest.len() - rest.trim_start().len());
        let rest = &self.text[start..];
        let (token, length) = match rest.chars().next() {
            None => (Token::End, 0),
            Some('"') => self.quoted(start)?,
            Some('`') => self.quoted_name(start)?,
            Some(first) if first.is_ascii_alphabetic() => {
                let length = run(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                (Token::Word(&rest[..length]), length)
            }
            Some(first) if first.is_ascii_digit() || first == '-' => {
                let length = number_length(rest).ok_or_else(|| self.unexpected("a number", start))?;
                (Token::Number(&rest[..length]), length)
            }
            Some('\'') => return Err(self.unexpected("a text in double quotes", start)),
            Some(_) => {
                let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
                let symbol = symbol.ok_or_else(|| self.unexpected("a name, a value or an operator", start))?;
                (Token::Symbol(symbol), symbol.len())
            }
        };
        self.position = start + length;
        Ok(Spanned { token, start, end: self.position })
    }

    /// The error that something else than `expected` begins at a byte.
    pub(super) fn unexpected(&self, expected: impl Into<String>, start: usize) -> FilterError {
        let end = self.text[start..].find(char::is_whitespace).map_or(self.text.len(), |length| start + length);
        FilterError::Unexpected { offset: self.offset(start), expected: expected.into(), found: self.shown(start, end) }
    }

    /// A part of the text as an error shows it.
    pub(super) fn shown(&self, start: usize, end: usize) -> String {
        match &self.text[start..end] {
            "" => "the end".to_owned(),
            part => format!("{:?}", shortened(part)),
        }
    }

    /// Code points before a byte.
    pub(super) fn offset(&self, start: usize) -> usize {
        self.text[..start].chars().count()
    }

    fn quoted(&self, start: usize) -> Result<(Token<'a>, usize), FilterError> {
        let mut text = String::new();
        let mut characters = self.text[start..].char_indices().skip(1);
        while let Some((place, character)) = characters.next() {
            match character {
                '"' => return Ok((Token::Text(text), place + 1)),
                '\\' => match characters.next() {
                    Some((_, escaped @ ('"' | '\\'))) => text.push(escaped),
                    _ => return Err(self.unexpected("\\\" or \\\\, the only escapes", start + place)),
                },
                plain => text.push(plain),
            }
        }
        Err(self.unexpected("a text that ends in double quotes", start))
    }

    fn quoted_name(&self, start: usize) -> Result<(Token<'a>, usize), FilterError> {
        let name = &self.text[start + 1..];
        let length = name.find('`').ok_or_else(|| self.unexpected("a name that ends in a backtick", start))?;
        Ok((Token::QuotedName(&name[..length]), length + 2))
    }
}

/// The beginning of a text, short enough for an error.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Bytes at the beginning of `text` whose characters pass.
fn run(text: &str, passes: impl Fn(char) -> bool) -> usize {
    text.find(|c: char| !passes(c)).unwrap_or(text.len())
}

/// Length of `-12.5e-3` at the beginning of `text`; `None` where no number begins.
fn number_length(text: &str) -> Option<usize> {
    let digits = |from: usize| run(&text[from..], |c| c.is_ascii_digit());
    let sign = usize::from(text.starts_with('-'));
    let whole = digits(sign);
    if whole == 0 {
        return None;
    }
    let mut length = sign + whole;
    if text[length..].starts_with('.') && digits(length + 1) > 0 {
        length += 1 + digits(length + 1);
    }
    if text[length..].starts_with(['e', 'E']) {
        let signed = usize::from(text[length + 1..].starts_with(['+', '-']));
        let exponent = digits(length + 1 + signed);
        if exponent > 0 {
            length += 1 + signed + exponent;
        }
    }
    Some(length)
}
