//! Writing to stdout. A closed pipe comes back as an error, where `println!` would panic.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

/// Columns where stdout is no terminal, or says nothing useful of its width.
const DEFAULT_COLUMNS: usize = 100;

/// A width below this is taken for a terminal that does not know its own.
const NARROWEST_COLUMNS: usize = 40;

/// Columns beyond which lines are tiring to read.
const WIDEST_COLUMNS: usize = 110;

/// Writes `text` and a line end.
pub fn line(text: impl AsRef<str>) -> io::Result<()> {
    write(&format!("{}\n", text.as_ref()))
}

/// Writes `text` as it is, at once.
pub fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Writes one JSON document.
pub fn json(document: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(serde_json::to_string_pretty(document)?)?)
}

/// Whether a person reads stdout as it is written.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The columns to fill.
pub fn columns() -> usize {
    let width = comfy_table::Table::new().width().map(usize::from);
    width.filter(|width| *width >= NARROWEST_COLUMNS).map_or(DEFAULT_COLUMNS, |width| width.min(WIDEST_COLUMNS))
}
