//! What the checks of the data found, in tables.

use trivium_train::{Findings, Place};

use crate::{output, render::table::table};

/// Rows of each table; the rest are counted.
const SHOWN: usize = 5;
/// Characters of a query that are shown.
const SHOWN_CHARACTERS: usize = 60;

/// Prints each kind that was found.
pub fn show(findings: &Findings) -> anyhow::Result<()> {
    if findings.is_empty() {
        return Ok(output::line("the data looks sound")?);
    }
    let rows = findings.contradictions.iter().map(|found| {
        let labels: Vec<String> = found.labels.iter().map(|(label, place)| format!("{label} ({place})")).collect();
        [short(&found.text), labels.join(", ")]
    });
    section("queries with more than one label", ["query", "labels"], rows)?;
    let leaks = findings.leaks.iter().map(|found| [short(&found.text), places(&found.places)]);
    section("validation or test queries that are also trained on", ["query", "where"], leaks)?;
    let duplicates = findings.duplicates.iter().map(|found| [short(&found.text), places(&found.places)]);
    section("training queries that are there more than once", ["query", "where"], duplicates)?;
    let rare = findings.rare.iter().map(|rare| [rare.label.clone(), rare.examples.to_string()]);
    section("labels with few training queries", ["label", "queries"], rare)?;
    let suspects = findings.suspects.iter().map(|suspect| {
        let confidence = format!("{:.2}", suspect.confidence);
        [suspect.number.to_string(), short(&suspect.text), suspect.label.clone(), suspect.likely.clone(), confidence]
    });
    let headings = ["number", "query", "label", "more likely", "confidence"];
    section("training queries whose label is likely to be wrong", headings, suspects)
}

fn section<const N: usize>(
    title: &str,
    headings: [&str; N],
    rows: impl ExactSizeIterator<Item = [String; N]>,
) -> anyhow::Result<()> {
    let found = rows.len();
    if found == 0 {
        return Ok(());
    }
    output::line(format!("{found} {title}:"))?;
    output::line(table(headings, rows.take(SHOWN)))?;
    if found > SHOWN {
        output::line(format!("... and {} more (--json has all)", found - SHOWN))?;
    }
    Ok(output::line("")?)
}

fn places(places: &[Place]) -> String {
    let named: Vec<String> = places.iter().take(SHOWN).map(Place::to_string).collect();
    named.join(", ")
}

fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_queries_are_cut_between_characters() {
        assert_eq!(short("kurz"), "kurz");
        let long = "ä".repeat(61);
        assert_eq!(short(&long), format!("{}...", "ä".repeat(60)));
    }
}
