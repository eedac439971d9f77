//! Which road, and why.

use super::style::Style;
use crate::view::{DecisionView, GuardView, Runner, WeightsView};

/// Characters of a bar.
const BAR: usize = 20;

/// Probabilities below this would show as 0.00.
const LEAST_SHOWN: f64 = 0.005;

/// The road with its reason, in one or two lines; the model's other thoughts as
/// well when `explain` is set.
pub fn decision(style: Style, decision: &DecisionView, explain: bool) -> String {
    let mut head = format!("  {}", style.badge(&decision.route.to_uppercase()));
    if !decision.intent.is_empty() {
        let intent = format!("{} {:.2}", style.strong(&decision.intent), decision.confidence);
        let threshold = style.faint(&format!("(needs {:.2})", decision.threshold));
        head = format!("{head}  {} {intent} {threshold}", bar(style, decision.confidence));
    }
    let mut lines = vec![head, format!("  {}", style.faint(&super::single_line(&decision.explanation)))];
    lines.extend(decision.notes.iter().map(|note| format!("  {}", style.warning(&super::single_line(note)))));
    if explain {
        let thoughts = decision.runners_up.iter().filter(|runner| runner.probability >= LEAST_SHOWN);
        lines.extend(thoughts.map(|runner| runner_up(style, runner)));
        lines.extend(details(decision).into_iter().map(|line| format!("  {}", style.faint(&line))));
    }
    lines.join("\n")
}

fn runner_up(style: Style, runner: &Runner) -> String {
    format!("    {} {} {:.2}", bar(style, runner.probability), runner.intent, runner.probability)
}

fn details(decision: &DecisionView) -> Vec<String> {
    let mut lines = vec![format!("rule {}", decision.reason)];
    if !decision.intent.is_empty() {
        let needs = match decision.ambiguity_margin {
            margin if margin > 0.0 => format!(" (ambiguous below {margin:.2})"),
            _ => String::new(),
        };
        lines.push(format!("margin to the runner-up {:.2}{needs}", decision.margin));
    }
    lines.extend(decision.guards.iter().map(guard));
    if let Some(WeightsView { lexical, semantic, own }) = decision.weights {
        lines.push(format!("weights: words {lexical:.2}, meaning {semantic:.2}, the collection's own blend {own:.2}"));
    }
    if !decision.collections.is_empty() {
        lines.push(format!("searched {} for {} passages", decision.collections.join(", "), decision.k));
    }
    if !decision.policy_version.is_empty() {
        lines.push(format!("policy {}", decision.policy_version));
    }
    lines
}

fn guard(guard: &GuardView) -> String {
    let GuardView { name, matched, because } = guard;
    let outcome = if *matched { "matched" } else { "did not match" };
    super::single_line(&format!("guard {name} {outcome}: {because}"))
}

/// A probability as a bar.
fn bar(style: Style, probability: f64) -> String {
    let filled = (probability.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    format!("{}{}", style.good(&"━".repeat(filled)), style.faint(&"┄".repeat(BAR - filled)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> DecisionView {
        DecisionView {
            route: "hybrid".into(),
            intent: "how_to".into(),
            confidence: 0.75,
            threshold: 0.5,
            reason: "INTENT".into(),
            explanation: "how_to at 0.75, above 0.50: hybrid".into(),
            runners_up: vec![Runner { intent: "factual".into(), probability: 0.2 }],
            collections: vec!["docs".into()],
            k: 8,
            ..DecisionView::default()
        }
    }

    #[test]
    fn the_road_and_its_reason_come_first() {
        let text = decision(Style::PLAIN, &sample(), false);
        let expected = "  HYBRID  ━━━━━━━━━━━━━━━┄┄┄┄┄ how_to 0.75 (needs 0.50)\n  how_to at 0.75, above 0.50: hybrid";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_rest_is_there_when_asked_for() {
        let text = decision(Style::PLAIN, &sample(), true);
        for part in ["factual 0.20", "rule INTENT", "searched docs for 8 passages"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn guards_weights_and_notes_are_told() {
        let guard = |name: &str, matched| GuardView { name: name.into(), matched, because: "an identifier".into() };
        let told = DecisionView {
            guards: vec![guard("codes", false), guard("names", true)],
            weights: Some(WeightsView { lexical: 0.5, semantic: 0.2, own: 0.3 }),
            ambiguity_margin: 0.1,
            notes: vec!["filter has no effect: the reply road searches nothing".into()],
            ..sample()
        };
        let text = decision(Style::PLAIN, &told, true);
        for part in [
            "guard codes did not match: an identifier",
            "guard names matched: an identifier",
            "words 0.50, meaning 0.20, the collection's own blend 0.30",
            "(ambiguous below 0.10)",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(decision(Style::PLAIN, &told, false).contains("filter has no effect"));
    }

    #[test]
    fn odd_probabilities_still_make_bars() {
        for probability in [-1.0, 0.0, 1.0, 7.0, f64::NAN] {
            assert_eq!(bar(Style::PLAIN, probability).chars().count(), BAR);
        }
    }
}
