//! Records and replays, for people.

use super::{answer, decision, single_line, style::Style};
use crate::view::{FeedbackView, RecordView, ReplayView};

/// A record: the request, the decision, the passages and where they are from.
pub fn record(style: Style, view: &RecordView, columns: usize) -> String {
    let mut lines = vec![
        format!(
            "  {} {}",
            style.strong(&view.answer.request_id),
            style.faint(&format!("{} {}", view.call, view.recorded_at))
        ),
        format!("  {}", query(view)),
    ];
    if !view.error.is_empty() {
        let field = if view.error_field.is_empty() { String::new() } else { format!(" in {}", view.error_field) };
        lines.push(format!("  {}", style.warning(&format!("! failed with {}{field}", view.error))));
    }
    if !view.answer.decision.route.is_empty() {
        lines.push(format!("\n{}", decision::decision(style, &view.answer.decision, true)));
    }
    if !view.answer.answer.is_empty() {
        lines.push(format!("\n  {}", single_line(&view.answer.answer)));
    }
    lines.push(answer::footer(style, &view.answer, true, columns).trim_end().to_owned());
    lines.extend(view.feedback.iter().map(|said| format!("  {}", feedback(said))));
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

fn query(view: &RecordView) -> String {
    if view.query.is_empty() {
        return format!("the query is not on record; its SHA-256 is {}", view.query_sha256);
    }
    format!("\"{}\"", single_line(&view.query))
}

fn feedback(said: &FeedbackView) -> String {
    let helpful = said.helpful.map(|helpful| if helpful { "helpful" } else { "not helpful" }.to_owned());
    let named = |what: &str, name: &str| (!name.is_empty()).then(|| format!("{what} {}", single_line(name)));
    let parts = [
        helpful,
        named("the right intent is", &said.right_intent),
        named("the right road is", &said.right_road),
        named("answered by", &said.right_documents.join(", ")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("feedback {}: {}", said.recorded_at, parts.join("; "))
}

/// The verdict of a replay, and what stands behind it.
pub fn replay(style: Style, view: &ReplayView) -> String {
    let count = view.passages.len();
    let verdict = match view.verdict {
        "SAME" if view.record.call == "route" => style.good("the same decision"),
        "SAME" => style.good(&format!("the same {count} passages, with the same scores")),
        "SAME_BUT_ROUNDING" => style.good(&format!("the same {count} passages; scores differ by rounding")),
        "NOT_RETAINED" => style.warning("it cannot be replayed"),
        _ => style.warning("something else came back"),
    };
    let mut lines = vec![format!("  {verdict}")];
    lines.extend(
        view.differences.iter().map(|words| format!("  {}", style.warning(&format!("! {}", single_line(words))))),
    );
    lines.extend(view.not_retained.iter().map(|missing| {
        let words = format!("{}: {} is not kept ({}): {}", missing.part, missing.what, missing.reason, missing.detail);
        format!("  {}", style.warning(&single_line(&words)))
    }));
    lines.extend(view.record.searches.iter().map(|search| {
        let words = format!("searched {} at version {}", search.snapshot.collection, search.snapshot.version);
        format!("  {}", style.faint(&words))
    }));
    let policy = &view.record.answer.decision.policy_version;
    if !policy.is_empty() {
        lines.push(format!("  {}", style.faint(&format!("policy {policy}"))));
    }
    lines.extend(view.notes.iter().map(|note| format!("  {}", style.faint(&single_line(note)))));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Answer, NotRetainedView};

    #[test]
    fn a_record_without_its_query_says_so() {
        let view = RecordView {
            call: "query",
            query_sha256: "ab12".into(),
            error: "OVERLOADED".into(),
            answer: Answer { request_id: "r-1".into(), ..Answer::default() },
            feedback: vec![FeedbackView {
                helpful: Some(false),
                right_intent: "lookup".into(),
                ..FeedbackView::default()
            }],
            ..RecordView::default()
        };
        let text = record(Style::PLAIN, &view, 80);
        for part in ["r-1", "SHA-256 is ab12", "! failed with OVERLOADED", "not helpful; the right intent is lookup"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_replay_says_what_is_missing() {
        let missing = NotRetainedView {
            part: "snapshot".into(),
            what: "docs at version 3".into(),
            reason: "SNAPSHOT_EXPIRED".into(),
            detail: "kept are 7 to 16".into(),
        };
        let view = ReplayView {
            verdict: "NOT_RETAINED",
            differences: Vec::new(),
            not_retained: vec![missing],
            notes: vec!["intents/1 is kept".into()],
            decision: None,
            passages: Vec::new(),
            record: RecordView::default(),
        };
        let expected = "  it cannot be replayed\n  snapshot: docs at version 3 is not kept (SNAPSHOT_EXPIRED): kept are 7 to 16\n  intents/1 is kept";
        assert_eq!(replay(Style::PLAIN, &view), expected);
    }
}
