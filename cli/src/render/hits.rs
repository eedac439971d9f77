//! Passages in a list.

use super::{breadcrumbs, excerpt, flow, place, style::Style};
use crate::view::{Hit, Legs, RerankView, TermView, TokenView};

/// Characters of a passage that are shown.
const EXCERPT: usize = 240;

/// One passage: number, title and headings, place, what the legs said, and how it begins.
pub fn hit(style: Style, number: u32, hit: &Hit, columns: usize) -> String {
    format!("{}{}", source(style, number, hit), flow::wrap(style, &excerpt(&prose(&hit.text), EXCERPT), columns, 6))
}

/// A passage without its headings, which stand above it already, and without the rules of tables.
fn prose(text: &str) -> String {
    let rule = |line: &&str| !line.is_empty() && line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !rule(line)).collect();
    let kept = kept.join("\n");
    // A passage that is nothing else is shown as it is.
    if kept.trim().is_empty() { text.to_owned() } else { kept }
}

/// The same without its text.
pub fn source(style: Style, number: u32, hit: &Hit) -> String {
    // Padded before it is coloured: the codes of colours have no width.
    let number = style.mark(&format!("{:>5}", format!("[{number}]")));
    let head = format!("{number} {}", style.strong(&breadcrumbs(hit)));
    let place = super::single_line(&place(hit));
    // The score of a hit that one leg found is that leg's own, or its share.
    let found = match (hit.legs.lexical, hit.legs.semantic) {
        (Some(_), Some(_)) => format!("{:.3}  {}", hit.score, legs(&hit.legs)),
        _ => legs(&hit.legs),
    };
    let found = match hit.rerank {
        Some(moved) => format!("{found}  was #{}", moved.rank_before),
        None => found,
    };
    let twins: Vec<String> =
        hit.also_in.iter().map(|twin| format!("{}/{}", twin.collection, twin.document_id)).collect();
    let twins = match twins.as_slice() {
        [] => String::new(),
        twins => style.faint(&super::single_line(&format!("  also in {}", twins.join(", ")))),
    };
    format!("{head}\n      {place}  {}{twins}\n", style.faint(&found))
}

/// The ranks and scores of the legs that found a passage.
pub fn legs(legs: &Legs) -> String {
    let leg = |name: &str, leg: &Option<crate::view::LegView>| {
        leg.map(|leg| format!("{name} #{} ({:.2})", leg.rank, leg.score))
    };
    let found: Vec<String> =
        [leg("lexical", &legs.lexical), leg("semantic", &legs.semantic)].into_iter().flatten().collect();
    found.join("  ")
}

/// What each leg gave to the fused score.
pub fn shares(legs: &Legs) -> String {
    let leg = |name: &str, leg: &Option<crate::view::LegView>| {
        leg.map(|leg| format!("{name} gives {:.3} (normalised {:.3})", leg.share, leg.normalised_score))
    };
    let found: Vec<String> =
        [leg("lexical", &legs.lexical), leg("semantic", &legs.semantic)].into_iter().flatten().collect();
    found.join(", ")
}

/// What each term gave to the lexical score, one on each line.
pub fn terms(terms: &[TermView]) -> String {
    let line = |term: &TermView| {
        format!(
            "      {:>8.3}  {} in the {}: {} times, idf {:.3}\n",
            term.score, term.term, term.field, term.term_frequency, term.inverse_document_frequency
        )
    };
    terms.iter().map(line).collect()
}

/// Which token of the passage answered each token of the query, one on each line.
pub fn tokens(tokens: &[TokenView]) -> String {
    let line = |found: &TokenView| {
        let passage = if found.passage.is_empty() { format!("token {}", found.place) } else { found.passage.clone() };
        let words = super::single_line(&format!("{} by {passage}", found.query));
        format!("      {:>8.3}  {words}\n", found.similarity)
    };
    tokens.iter().map(line).collect()
}

/// What late interaction's score of a passage is made of; nothing for other scores.
pub fn second_stage(rerank: &RerankView) -> String {
    let RerankView { score: Some(score), passage_score: Some(passage), beginning_score, .. } = rerank else {
        return String::new();
    };
    let beginning = beginning_score.map(|beginning| format!(", its document's beginning {beginning:.3}"));
    format!("      {score:>8.3}  second stage: the passage {passage:.3}{}\n", beginning.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{LegView, TwinView};

    #[test]
    fn the_second_stage_shows_its_parts() {
        let whole = RerankView {
            score: Some(0.66),
            passage_score: Some(0.7),
            beginning_score: Some(0.6),
            ..RerankView::default()
        };
        let line = "         0.660  second stage: the passage 0.700, its document's beginning 0.600\n";
        assert_eq!(second_stage(&whole), line);
        let alone = RerankView { beginning_score: None, ..whole };
        assert_eq!(second_stage(&alone), "         0.660  second stage: the passage 0.700\n");
        assert_eq!(second_stage(&RerankView { passage_score: None, ..whole }), "");
    }

    #[test]
    fn headings_and_rules_of_tables_are_left_out() {
        let table = [
            ("# Guide\n\nHow it begins.", "\nHow it begins."),
            ("| a | b |\n|---|:-:|\n| 1 | 2 |", "| a | b |\n| 1 | 2 |"),
            ("# Only a heading", "# Only a heading"),
        ];
        for (text, expected) in table {
            assert_eq!(prose(text), expected);
        }
    }

    #[test]
    fn a_passage_shows_where_it_is_from_and_who_found_it() {
        let semantic = LegView { rank: 4, score: 0.613, normalised_score: 0.9, share: 0.54 };
        let sample = Hit {
            title: "Guide".into(),
            text: "How it begins.".into(),
            uri: "docs/guide.md".into(),
            char_start: 120,
            char_end: 480,
            score: 0.8421,
            legs: Legs { lexical: None, semantic: Some(semantic) },
            ..Hit::default()
        };
        let text = hit(Style::PLAIN, 1, &sample, 80);
        let expected = "  [1] Guide\n      docs/guide.md:120-480  semantic #4 (0.61)\n      How it begins.\n";
        assert_eq!(text, expected);
        let twin = TwinView { collection: "help".into(), document_id: "guide.md".into(), ..TwinView::default() };
        let copied = Hit { also_in: vec![twin], ..sample.clone() };
        assert!(source(Style::PLAIN, 1, &copied).contains("also in help/guide.md"));
        assert_eq!(shares(&sample.legs), "semantic gives 0.540 (normalised 0.900)");
    }
}
