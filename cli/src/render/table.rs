//! Plain tables: a line of headings, then rows, numbers to the right.

use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets};

/// Lays out `rows` under `headings`. Cells that are numbers stand to the right.
pub fn table<const N: usize>(headings: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headings);
    for row in rows {
        table.add_row(row.map(cell));
    }
    table.trim_fmt()
}

fn cell(text: String) -> Cell {
    let alignment = if text.parse::<f64>().is_ok() { CellAlignment::Right } else { CellAlignment::Left };
    Cell::new(text).set_alignment(alignment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_there() {
        let text = table(["name", "chunks"], [["docs".to_owned(), "12".to_owned()], ["wiki".into(), "7".into()]]);
        for part in ["name", "chunks", "docs", "12", "wiki", "7"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    }
}
