//! What a report shows besides the manifest: single queries, and the curve of the
//! out-of-scope score.

use crate::intent::{Decision, Example};

/// Mistakes of each kind that are kept.
const MOST_MISTAKES: usize = 20;
/// Steps of the curve, and how far it goes.
const CURVE_STEPS: usize = 40;
const LARGEST_REJECT: f32 = 0.1;

/// Single queries, and the curve of the out-of-scope score.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What the figures are of.
    pub judged_on: JudgedOn,
    /// Queries taken for another intent, most confident first.
    pub wrong: Vec<Mistake>,
    /// Queries in scope that were rejected, strangest first.
    pub rejected: Vec<Mistake>,
    /// Queries outside the scope that were not noticed, most confident first.
    pub missed: Vec<Mistake>,
    /// For rising rates of false rejects, the share of outsiders found; both 0 to 1.
    pub scope_curve: Vec<(f32, f32)>,
}

/// What a report's figures are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JudgedOn {
    /// Data that played no part in making the model.
    Test,
    /// The data that the model was calibrated on.
    Validation,
    /// Whatever the version was judged on that some labels were added to.
    EarlierVersion,
}

/// A query that was decided wrongly.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// The query.
    pub text: String,
    /// Its label.
    pub label: String,
    /// What was decided.
    pub decided: String,
    /// How confidently, 0 to 1.
    pub confidence: f32,
}

impl Shown {
    /// Picks from judged queries; `outside` is the label of those outside the scope.
    pub fn new(examples: &[&Example], decisions: &[Decision], outside: Option<&str>, judged_on: JudgedOn) -> Self {
        let is_outside = |example: &Example| Some(example.label.as_str()) == outside;
        let pairs = || examples.iter().copied().zip(decisions);
        let confidence = |decision: &Decision| decision.confidence();
        let strangeness = |decision: &Decision| decision.strangeness.unwrap_or(0.0);
        let wrong = pairs().filter(|(example, decision)| !is_outside(example) && example.label != decision.label());
        let rejected = pairs().filter(|(example, decision)| !is_outside(example) && decision.out_of_scope);
        let missed = pairs().filter(|(example, decision)| is_outside(example) && !decision.out_of_scope);
        Self {
            judged_on,
            wrong: worst(wrong.collect(), confidence),
            rejected: worst(rejected.collect(), strangeness),
            missed: worst(missed.collect(), confidence),
            scope_curve: curve(
                pairs().filter(|(example, _)| !is_outside(example)).filter_map(|(_, d)| d.strangeness).collect(),
                pairs().filter(|(example, _)| is_outside(example)).filter_map(|(_, d)| d.strangeness).collect(),
            ),
        }
    }
}

impl Shown {
    /// Nothing but what the manifest says: for a version that labels were added to.
    pub fn before_additions() -> Self {
        Self {
            judged_on: JudgedOn::EarlierVersion,
            wrong: Vec::new(),
            rejected: Vec::new(),
            missed: Vec::new(),
            scope_curve: Vec::new(),
        }
    }
}

fn worst(mut mistakes: Vec<(&Example, &Decision)>, badness: impl Fn(&Decision) -> f32) -> Vec<Mistake> {
    mistakes.sort_by(|a, b| badness(b.1).total_cmp(&badness(a.1)));
    let mistake = |(example, decision): (&Example, &Decision)| Mistake {
        text: example.text.clone(),
        label: example.label.clone(),
        decided: decision.label().to_owned(),
        confidence: decision.confidence(),
    };
    mistakes.into_iter().take(MOST_MISTAKES).map(mistake).collect()
}

/// Empty unless there are queries on both sides.
fn curve(mut inside: Vec<f32>, outside: Vec<f32>) -> Vec<(f32, f32)> {
    if inside.is_empty() || outside.is_empty() {
        return Vec::new();
    }
    inside.sort_by(f32::total_cmp);
    (0..=CURVE_STEPS)
        .map(|step| {
            let rate = LARGEST_REJECT * step as f32 / CURVE_STEPS as f32;
            let rejected = (rate * inside.len() as f32) as usize;
            let threshold = inside[inside.len() - 1 - rejected.min(inside.len() - 1)];
            let found = outside.iter().filter(|strangeness| **strangeness > threshold).count();
            (rate, found as f32 / outside.len() as f32)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decision(label: &str, confidence: f32, strangeness: f32) -> Decision {
        Decision {
            ranking: vec![(label.to_owned(), confidence)],
            margin: 0.0,
            threshold: 0.0,
            out_of_scope: strangeness > 0.5,
            strangeness: Some(strangeness),
        }
    }

    #[test]
    fn mistakes_are_sorted_into_their_lists() {
        let labels = ["a", "a", "a", "oos", "oos", "b"];
        let examples: Vec<Example> =
            labels.iter().map(|l| Example { text: format!("of {l}"), label: (*l).to_owned() }).collect();
        let examples: Vec<&Example> = examples.iter().collect();
        let decisions = [
            decision("a", 0.9, 0.1),
            decision("b", 0.6, 0.2),
            decision("a", 0.4, 0.9),
            decision("a", 0.8, 0.3),
            decision("b", 0.2, 0.8),
            decision("a", 0.7, 0.1),
        ];
        let shown = Shown::new(&examples, &decisions, Some("oos"), JudgedOn::Test);
        let wrong: Vec<f32> = shown.wrong.iter().map(|mistake| mistake.confidence).collect();
        assert_eq!(wrong, [0.7, 0.6]);
        assert_eq!((shown.rejected.len(), shown.missed.len()), (1, 1));
        assert_eq!(shown.scope_curve.len(), CURVE_STEPS + 1);
        // At no false reject the threshold is 0.9, which neither outsider exceeds.
        assert_eq!(shown.scope_curve[0], (0.0, 0.0));
        assert!(Shown::new(&examples[..3], &decisions[..3], Some("oos"), JudgedOn::Test).scope_curve.is_empty());
    }
}
