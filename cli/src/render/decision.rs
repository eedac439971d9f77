//! Which road, and why.

use super::style::Style;
use crate::view::{DecisionView, Runner};

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
        lines.push(format!("margin to the runner-up {:.2}", decision.margin));
    }
    if !decision.collections.is_empty() {
        lines.push(format!("searched {} for {} passages", decision.collections.join(", "), decision.k));
    }
    if !decision.policy_version.is_empty() {
        lines.push(format!("policy {}", decision.policy_version));
    }
    lines
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
    fn odd_probabilities_still_make_bars() {
        for probability in [-1.0, 0.0, 1.0, 7.0, f64::NAN] {
            assert_eq!(bar(Style::PLAIN, probability).chars().count(), BAR);
        }
    }
}
