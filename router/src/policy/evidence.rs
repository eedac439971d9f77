//! From the probabilities of the intents to what each leg counts.
//!
//! Each intent votes with its calibrated probability. One whose road is lexical votes for the lexical leg, one whose
//! road is semantic for the semantic leg, a hybrid one for the weights that its rule names. All the rest, be it an
//! intent that searches nothing, one without a rule or one too improbable for the model to name, says nothing of the
//! legs and votes for the collection's own blend. So a certainty is one leg, ignorance is the blend that was measured
//! to be best for the collection, and everything in between lies between them.

use trivium_proto::model::v1::Intent;

use super::{LegWeights, Policy, step::Action};

/// Probability that is lost in rounding.
const NEGLIGIBLE: f64 = 1e-6;

/// What each leg counts for a query of this intent. The three weights add up to 1.
pub(super) fn weights(policy: &Policy, intent: &Intent) -> LegWeights {
    let (mut lexical, mut semantic, mut certain) = (0.0, 0.0, 0.0);
    for (label, probability) in scores(intent) {
        let Some(vote) = vote(policy, label) else { continue };
        let total = vote.lexical() + vote.semantic() + vote.own();
        lexical += probability * vote.lexical() / total;
        semantic += probability * vote.semantic() / total;
        certain += probability * (vote.lexical() + vote.semantic()) / total;
    }
    // Probabilities that are rounded add up to a little more or less than 1.
    let rest = 1.0 - certain;
    let own = if rest < NEGLIGIBLE { 0.0 } else { rest };
    let scale = lexical + semantic + own;
    LegWeights::new(lexical / scale, semantic / scale, own / scale).unwrap_or(LegWeights::OWN)
}

/// The labels that the model named, most probable first, with what their probabilities are worth: a number that is
/// none, or is outside 0 to 1, says nothing.
pub(super) fn scores(intent: &Intent) -> impl Iterator<Item = (&str, f64)> {
    let first = (intent.label.as_str(), intent.confidence);
    let others = intent.runners_up.iter().map(|score| (score.label.as_str(), score.probability));
    let sound = |probability: f64| if (0.0..=1.0).contains(&probability) { probability } else { 0.0 };
    std::iter::once(first).chain(others).map(move |(label, probability)| (label, sound(probability)))
}

fn vote(policy: &Policy, label: &str) -> Option<LegWeights> {
    match &policy.intents.get(label)?.rule.action {
        Action::Retrieve(super::Legs::Hybrid, settings) => Some(settings.fusion.weights.unwrap_or(LegWeights::OWN)),
        Action::Retrieve(legs, _) => Some(legs.weights()),
        Action::Direct(_) | Action::Reply(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trivium_proto::model::v1::IntentScore;

    use super::*;
    use crate::policy::Legs;

    const TEXT: &str = r#"
        version = 1
        [intents]
        words = { route = "lexical" }
        codes = { route = "lexical" }
        meaning = { route = "semantic" }
        both = { route = "hybrid" }
        tuned = { route = "hybrid", fusion = { weights = { lexical = 1, semantic = 3 } } }
        chat = { route = "reply", reply = "hello" }
    "#;

    fn policy() -> Policy {
        Policy::parse(TEXT, &["docs".to_owned()]).expect("a policy that is right")
    }

    fn intent(scores: &[(&str, f64)]) -> Intent {
        let score =
            |(label, probability): &(&str, f64)| IntentScore { label: (*label).to_owned(), probability: *probability };
        let (label, confidence) = scores[0];
        let runners_up = scores[1..].iter().map(score).collect();
        Intent { label: label.to_owned(), confidence, runners_up, ..Intent::default() }
    }

    #[test]
    fn each_intent_votes_for_its_legs() {
        type Row<'a> = (&'a [(&'a str, f64)], [f64; 3]);
        let table: [Row; 9] = [
            (&[("words", 1.0)], [1.0, 0.0, 0.0]),
            (&[("words", 0.5), ("codes", 0.5)], [1.0, 0.0, 0.0]),
            (&[("meaning", 1.0)], [0.0, 1.0, 0.0]),
            (&[("words", 0.5), ("meaning", 0.25), ("both", 0.125)], [0.5, 0.25, 0.25]),
            (&[("both", 0.5), ("chat", 0.5)], [0.0, 0.0, 1.0]),
            (&[("tuned", 0.5), ("words", 0.25)], [0.375, 0.375, 0.25]),
            (&[("unheard_of", 0.75), ("words", 0.25)], [0.25, 0.0, 0.75]),
            (&[("words", f64::NAN), ("meaning", -1.0)], [0.0, 0.0, 1.0]),
            (&[("words", 1.0), ("meaning", 1.0)], [0.5, 0.5, 0.0]),
        ];
        for (scores, expected) in table {
            let found = weights(&policy(), &intent(scores));
            assert_eq!([found.lexical(), found.semantic(), found.own()], expected, "{scores:?}");
        }
    }

    proptest! {
        #[test]
        fn weights_add_up_to_one_and_follow_the_evidence(
            parts in prop::collection::vec((0_usize..7, 0.0..1.0_f64), 1..7),
            rest in 0.0..1.0_f64,
        ) {
            let labels = ["words", "codes", "meaning", "both", "tuned", "chat", "unheard_of"];
            let total = parts.iter().map(|(_, part)| part).sum::<f64>() + rest;
            prop_assume!(total > 0.0);
            let scores: Vec<_> = parts.iter().map(|(label, part)| (labels[*label], part / total)).collect();
            let found = weights(&policy(), &intent(&scores));
            prop_assert!((found.lexical() + found.semantic() + found.own() - 1.0).abs() < 1e-9, "{:?}", found);
            let mass = |of: &[&str]| scores.iter().filter(|(label, _)| of.contains(label)).map(|(_, mass)| mass).sum::<f64>();
            prop_assert!(found.lexical() >= mass(&["words", "codes"]) - NEGLIGIBLE);
            prop_assert!(found.semantic() >= mass(&["meaning"]) - NEGLIGIBLE);
            prop_assert!(found.own() >= mass(&["both", "chat", "unheard_of"]) - 2.0 * NEGLIGIBLE);
        }

        #[test]
        fn a_one_sided_certainty_is_one_leg(parts in prop::collection::vec((prop::bool::ANY, 0.01..1.0_f64), 1..7)) {
            let total: f64 = parts.iter().map(|(_, part)| part).sum();
            let scores: Vec<_> =
                parts.iter().map(|(first, part)| (if *first { "words" } else { "codes" }, part / total)).collect();
            let found = weights(&policy(), &intent(&scores));
            prop_assert_eq!(found.legs(), Legs::Lexical);
        }
    }
}
