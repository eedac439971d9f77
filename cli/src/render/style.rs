//! Colour, where it is wanted.

use owo_colors::OwoColorize;

/// Whether to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Text as it is.
    #[cfg(test)]
    pub const PLAIN: Self = Self { colour: false };

    /// Colour on a terminal that has it, unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colour: crate::output::is_terminal() && !refused && !dumb }
    }

    /// What stands out.
    pub fn strong(self, text: &str) -> String {
        self.paint(text, |text| text.bold().to_string())
    }

    /// What may be passed over.
    pub fn faint(self, text: &str) -> String {
        self.paint(text, |text| text.dimmed().to_string())
    }

    /// Numbers of passages.
    pub fn mark(self, text: &str) -> String {
        self.paint(text, |text| text.cyan().to_string())
    }

    /// What went well.
    pub fn good(self, text: &str) -> String {
        self.paint(text, |text| text.green().to_string())
    }

    /// What the reader should know before trusting the rest.
    pub fn warning(self, text: &str) -> String {
        self.paint(text, |text| text.yellow().to_string())
    }

    /// A road's name.
    pub fn badge(self, text: &str) -> String {
        self.paint(text, |text| format!(" {text} ").black().on_cyan().bold().to_string())
    }

    fn paint(self, text: &str, with: impl Fn(&str) -> String) -> String {
        if self.colour { with(text) } else { text.to_owned() }
    }
}
