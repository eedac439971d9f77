//! What stands below an answer: its sources, what was left out, and where the time went.

use super::{hits, milliseconds, single_line, style::Style};
use crate::view::{Answer, Hit};

/// Passages that are shown below an answer that cites none.
const NEAREST: usize = 3;

/// Everything after the answer's text.
pub fn footer(style: Style, answer: &Answer, explain: bool, columns: usize) -> String {
    let parts = [
        warnings(style, answer),
        sources(style, answer, explain, columns),
        provenance(style, answer, explain),
        times(style, answer, explain),
    ];
    parts.into_iter().flatten().map(|part| format!("\n{part}\n")).collect()
}

fn warnings(style: Style, answer: &Answer) -> Option<String> {
    let left_out = answer.degraded.iter().map(|left_out| {
        let of = if left_out.collection.is_empty() { String::new() } else { format!(" of {}", left_out.collection) };
        format!("{}{of} left out ({}): {}", left_out.part, left_out.reason, left_out.detail)
    });
    let lines: Vec<String> = left_out
        .chain(doubts(answer))
        .map(|words| format!("  {}", style.warning(&format!("! {}", single_line(&words)))))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// What a language model did with its passages that the reader should know.
fn doubts(answer: &Answer) -> impl Iterator<Item = String> {
    let mut doubtful: Vec<u32> =
        answer.citations.iter().filter(|citation| citation.support == "DOUBTFUL").map(|c| c.passage).collect();
    doubtful.sort_unstable();
    doubtful.dedup();
    let about = |numbers: &[u32], what: &str| {
        let marks: Vec<String> = numbers.iter().map(|number| format!("[{number}]")).collect();
        (!numbers.is_empty()).then(|| format!("{what} {}", marks.join(" ")))
    };
    [
        about(&doubtful, "the passage may not say what cites it:"),
        about(&answer.unknown_citations, "the model cited passages that there are not:"),
        about(&answer.passages_left_out, "the prompt had no room for"),
        about(&answer.passages_cut, "the prompt had room for a part only of"),
    ]
    .into_iter()
    .flatten()
}

/// The passages that the answer cites. The nearest of them, with their text,
/// when it cites none. All of them when there is no answer to cite them, or when
/// everything is to be explained.
fn sources(style: Style, answer: &Answer, explain: bool, columns: usize) -> Option<String> {
    let cited = answer.passages.iter().any(|hit| answer.cites(hit.number));
    let shown: Vec<&Hit> = match (explain || answer.answer.is_empty(), cited) {
        (true, _) => answer.passages.iter().collect(),
        (false, true) => answer.passages.iter().filter(|hit| answer.cites(hit.number)).collect(),
        (false, false) => answer.passages.iter().take(NEAREST).collect(),
    };
    let title = match (cited, answer.answer.is_empty()) {
        (true, _) => "Sources",
        (false, true) => "Passages",
        (false, false) => "Nearest passages",
    };
    let mut lines = vec![format!("  {}", style.strong(title))];
    lines.extend(shown.iter().map(|hit| passage(style, answer, hit, explain, columns)));
    let hidden = answer.passages.len() - shown.len();
    if hidden > 0 {
        lines.push(style.faint(&format!("      and {hidden} more passages; --explain shows them")));
    }
    (!shown.is_empty()).then(|| lines.join("\n"))
}

/// One passage: without its text where the answer quotes it, with each leg's part where that is asked for.
fn passage(style: Style, answer: &Answer, hit: &Hit, explain: bool, columns: usize) -> String {
    let number = hit.number.unwrap_or_default();
    let mut text = if answer.cites(hit.number) {
        hits::source(style, number, hit)
    } else {
        hits::hit(style, number, hit, columns)
    };
    if explain {
        text.push_str(&format!("      {}", style.faint(&hits::shares(&hit.legs))));
    }
    text.trim_end().to_owned()
}

/// Which states and which models the answer is from.
fn provenance(style: Style, answer: &Answer, explain: bool) -> Option<String> {
    if !explain {
        return None;
    }
    let snapshots =
        answer.snapshots.iter().map(|snapshot| format!("  {} at version {}", snapshot.collection, snapshot.version));
    let models = answer.models.iter().map(|(role, model)| format!("  {role} {}/{}", model.name, model.version));
    let generator = (!answer.generator.is_empty()).then(|| format!("  written by {}", answer.generator));
    let lines: Vec<String> = snapshots.chain(models).chain(generator).map(|line| style.faint(&line)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Time per hop, with its parts in brackets where they are asked for, the trace, and the name of the request.
fn times(style: Style, answer: &Answer, explain: bool) -> Option<String> {
    const HOPS: [(&str, &[&str]); 4] = [
        ("analyze", &["queue", "tokenize", "forward"]),
        ("retrieve", &["lexical", "semantic"]),
        ("generate", &[]),
        ("total", &[]),
    ];
    let time = |name: &str| answer.timings_ms.get(name).map(|ms| format!("{name} {}", milliseconds(*ms)));
    let hop = |(hop, parts): &(&str, &[&str])| {
        let parts: Vec<String> = parts.iter().filter(|_| explain).filter_map(|part| time(part)).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        Some(format!("{}{parts}", time(hop)?))
    };
    let hops: Vec<String> = HOPS.iter().filter_map(hop).collect();
    let mut lines = Vec::new();
    if answer.cached {
        lines.push(format!("  {}", style.faint("from the cache")));
    }
    if !hops.is_empty() {
        lines.push(format!("  {}", style.faint(&hops.join(" · "))));
    }
    if !answer.trace_id.is_empty() {
        lines.push(format!("  {}", style.faint(&format!("trace {}", answer.trace_id))));
    }
    if !answer.request_id.is_empty() {
        lines.push(format!("  {}", style.faint(&format!("request {}", single_line(&answer.request_id)))));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::view::{CitationView, DegradationView};

    fn sample() -> Answer {
        let hit = |number: u32, title: &str| Hit {
            number: Some(number),
            title: title.into(),
            text: format!("Text of {title}."),
            uri: format!("{title}.md"),
            ..Hit::default()
        };
        let citation = CitationView {
            passage: 2,
            document_id: "b".into(),
            answer_start: 0,
            answer_end: 1,
            quote: String::new(),
            support: "HOLDS",
        };
        Answer {
            answer: "So it is. [2]".into(),
            passages: vec![hit(1, "First"), hit(2, "Second")],
            citations: vec![citation],
            timings_ms: BTreeMap::from([("total".into(), 12.0), ("retrieve".into(), 8.0), ("lexical".into(), 1.0)]),
            trace_id: "4bf9".into(),
            ..Answer::default()
        }
    }

    #[test]
    fn only_cited_passages_are_sources() {
        let text = footer(Style::PLAIN, &sample(), false, 80);
        assert!(text.contains("  Sources\n  [2] Second\n      Second.md:0-0"), "{text}");
        assert!(!text.contains("First"), "{text}");
        assert!(text.contains("and 1 more passages; --explain shows them"), "{text}");
        assert!(text.contains("  retrieve 8.00 ms · total 12.0 ms\n  trace 4bf9\n"), "{text}");
        let text = footer(Style::PLAIN, &sample(), true, 80);
        assert!(text.contains("First") && text.contains("retrieve 8.00 ms (lexical 1.00 ms)"), "{text}");
    }

    #[test]
    fn without_citations_the_passages_speak_for_themselves() {
        let uncited = Answer { citations: Vec::new(), ..sample() };
        assert!(footer(Style::PLAIN, &uncited, false, 80).contains("  Nearest passages\n  [1] First"));
        let text = footer(Style::PLAIN, &Answer { answer: String::new(), ..uncited }, false, 80);
        assert!(text.contains("  Passages\n  [1] First"), "{text}");
        assert!(text.contains("Text of First."), "{text}");
    }

    #[test]
    fn what_was_left_out_is_said() {
        let left_out = DegradationView {
            part: "generator".into(),
            reason: "GENERATOR_FAILED".into(),
            detail: "passages only".into(),
            collection: String::new(),
        };
        let leg = DegradationView { part: "semantic_leg".into(), collection: "docs".into(), ..left_out.clone() };
        for (left_out, what) in [(left_out, "generator"), (leg, "semantic_leg of docs")] {
            let text = footer(Style::PLAIN, &Answer { degraded: vec![left_out], ..Answer::default() }, false, 80);
            assert_eq!(text, format!("\n  ! {what} left out (GENERATOR_FAILED): passages only\n"));
        }
    }

    #[test]
    fn doubts_are_said() {
        assert!(!footer(Style::PLAIN, &sample(), false, 80).contains('!'));
        let mut answer = Answer { unknown_citations: vec![7, 9], passages_left_out: vec![1], ..sample() };
        answer.citations[0].support = "DOUBTFUL";
        let text = footer(Style::PLAIN, &answer, false, 80);
        assert!(text.starts_with(
            "\n  ! the passage may not say what cites it: [2]\n  ! the model cited passages that there are not: [7] [9]\n  \
             ! the prompt had no room for [1]\n"
        ), "{text}");
    }
}
