//! Whether two runs found the same. Pure.

use trivium_proto::{
    retriever::v1::{Hit, LegScore},
    router::v1::{Decision, Passage, ReplayVerdict},
};

/// Differences that are told of; what is beyond is only counted.
const TOLD: usize = 20;

/// Scores that differ by less than this, or by less than this share of the larger, differ by rounding.
const ROUNDING: f64 = 1e-6;

/// What two runs have found, compared: the verdict, and the differences in words.
pub(super) fn passages(recorded: &[Passage], replayed: &[Passage]) -> (ReplayVerdict, Vec<String>) {
    let mut differences = Differences::default();
    if recorded.len() != replayed.len() {
        differences.add(format!("{} passages were recorded, and {} came back", recorded.len(), replayed.len()));
    }
    let mut is_exact = true;
    for (then, now) in recorded.iter().zip(replayed) {
        if place(then) != place(now) {
            differences.add(format!("passage {} was {}, and is {}", then.number, name(then), name(now)));
            continue;
        }
        for (what, then_score, now_score) in scores(then, now) {
            is_exact &= same_bits(then_score, now_score);
            if !close(then_score, now_score) {
                let (number, name) = (then.number, name(then));
                let scores = format!("{} and is {}", shown(then_score), shown(now_score));
                differences.add(format!("the {what} of passage {number}, {name}, was {scores}"));
            }
        }
    }
    let verdict = match (differences.count, is_exact) {
        (0, true) => ReplayVerdict::Same,
        (0, false) => ReplayVerdict::SameButRounding,
        _ => ReplayVerdict::Different,
    };
    (verdict, differences.told())
}

/// How two decisions differ in what they do, in words.
pub(super) fn decisions(recorded: &Decision, replayed: &Decision) -> Vec<String> {
    let mut differences = Differences::default();
    let parts = [
        ("road", format!("{:?}", recorded.road()), format!("{:?}", replayed.road())),
        ("reason", format!("{:?}", recorded.reason()), format!("{:?}", replayed.reason())),
        ("intent", recorded.intent.clone(), replayed.intent.clone()),
        ("collections", recorded.collections.join(", "), replayed.collections.join(", ")),
        ("number of passages", recorded.k.to_string(), replayed.k.to_string()),
    ];
    for (what, then, now) in parts {
        if then != now {
            differences.add(format!("the {what} was {then:?}, and is {now:?}"));
        }
    }
    differences.told()
}

#[derive(Default)]
struct Differences {
    words: Vec<String>,
    count: usize,
}

impl Differences {
    fn add(&mut self, words: String) {
        self.count += 1;
        if self.words.len() < TOLD {
            self.words.push(words);
        }
    }

    fn told(mut self) -> Vec<String> {
        let untold = self.count - self.words.len();
        if untold > 0 {
            self.words.push(format!("and {untold} more"));
        }
        self.words
    }
}

/// What makes a passage the one that it is.
fn place(passage: &Passage) -> (&str, &str, &str, u32, u32) {
    let hit = passage.hit.as_ref();
    let id = |of: fn(&Hit) -> &String| hit.map_or("", |hit| of(hit).as_str());
    let bound = |of: fn(&Hit) -> u32| hit.map_or(0, of);
    (
        passage.collection.as_str(),
        id(|hit| &hit.document_id),
        id(|hit| &hit.chunk_id),
        bound(|hit| hit.char_start),
        bound(|hit| hit.char_end),
    )
}

fn name(passage: &Passage) -> String {
    let hit = passage.hit.as_ref();
    let document = hit.map_or("", |hit| hit.document_id.as_str());
    format!("{}:{document}#{}", passage.collection, hit.map_or(0, |hit| hit.chunk_no))
}

/// The score of a passage and those of its legs, of both runs.
fn scores(then: &Passage, now: &Passage) -> Vec<(String, Option<f64>, Option<f64>)> {
    let (Some(then), Some(now)) = (&then.hit, &now.hit) else { return Vec::new() };
    let mut pairs = vec![("score".to_owned(), Some(then.score), Some(now.score))];
    for leg in [trivium_proto::retriever::v1::Leg::Lexical, trivium_proto::retriever::v1::Leg::Semantic] {
        let of = |hit: &Hit| hit.legs.iter().find(|score| score.leg() == leg).cloned();
        let (then, now) = (of(then), of(now));
        if then.is_some() || now.is_some() {
            let score = |leg: &Option<LegScore>| leg.as_ref().map(|leg| leg.score);
            let name = if leg == trivium_proto::retriever::v1::Leg::Lexical { "lexical" } else { "semantic" };
            pairs.push((format!("{name} score"), score(&then), score(&now)));
        }
    }
    pairs
}

fn same_bits(then: Option<f64>, now: Option<f64>) -> bool {
    then.map(f64::to_bits) == now.map(f64::to_bits)
}

fn close(then: Option<f64>, now: Option<f64>) -> bool {
    match (then, now) {
        (Some(then), Some(now)) => {
            then.to_bits() == now.to_bits() || (then - now).abs() <= ROUNDING * then.abs().max(now.abs()).max(1.0)
        }
        (None, None) => true,
        _ => false,
    }
}

fn shown(score: Option<f64>) -> String {
    score.map_or_else(|| "none".to_owned(), |score| score.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trivium_proto::{retriever::v1::Leg, router::v1::Road};

    use super::*;

    fn passage(number: u32, document: &str, score: f64) -> Passage {
        let leg = LegScore { leg: Leg::Lexical.into(), rank: number, score: score * 2.0, ..LegScore::default() };
        let hit = Hit { document_id: document.into(), score, legs: vec![leg], ..Hit::default() };
        Passage { number, hit: Some(hit), ..Passage::default() }
    }

    #[test]
    fn verdicts() {
        let recorded = [passage(1, "a", 0.9), passage(2, "b", 0.5)];
        let nearly = 0.5 + f64::EPSILON;
        for (replayed, verdict, told) in [
            (vec![passage(1, "a", 0.9), passage(2, "b", 0.5)], ReplayVerdict::Same, 0),
            (vec![passage(1, "a", 0.9), passage(2, "b", nearly)], ReplayVerdict::SameButRounding, 0),
            (vec![passage(1, "a", 0.9), passage(2, "b", 0.6)], ReplayVerdict::Different, 2),
            (vec![passage(1, "b", 0.9), passage(2, "a", 0.5)], ReplayVerdict::Different, 2),
            (vec![passage(1, "a", 0.9)], ReplayVerdict::Different, 1),
            (vec![], ReplayVerdict::Different, 1),
        ] {
            let (found, words) = passages(&recorded, &replayed);
            assert_eq!((found, words.len()), (verdict, told), "{replayed:?}: {words:?}");
        }
        assert_eq!(passages(&[], &[]).0, ReplayVerdict::Same);
    }

    #[test]
    fn a_leg_that_is_missing_is_a_difference() {
        let mut alone = passage(1, "a", 0.9);
        alone.hit.as_mut().expect("a hit").legs.clear();
        let (verdict, words) = passages(&[passage(1, "a", 0.9)], &[alone]);
        assert_eq!(verdict, ReplayVerdict::Different);
        assert_eq!(words, ["the lexical score of passage 1, :a#0, was 1.8 and is none"]);
    }

    #[test]
    fn decisions_are_compared_by_what_they_do() {
        let recorded = Decision { road: Road::Lexical.into(), k: 4, explanation: "then".into(), ..Decision::default() };
        let replayed = Decision { explanation: "now".into(), ..recorded.clone() };
        assert!(decisions(&recorded, &replayed).is_empty());
        let replayed = Decision { road: Road::Hybrid.into(), ..replayed };
        assert_eq!(decisions(&recorded, &replayed), ["the road was \"Lexical\", and is \"Hybrid\""]);
    }

    proptest! {
        #[test]
        fn a_run_is_the_same_as_itself(scores in prop::collection::vec(any::<f64>(), 0..40)) {
            let found: Vec<Passage> = scores.iter().zip(1..).map(|(score, number)| passage(number, "d", *score)).collect();
            prop_assert_eq!(passages(&found, &found), (ReplayVerdict::Same, vec![]));
        }

        #[test]
        fn the_words_stay_few(count in 0_usize..60) {
            let of = |document: &str| -> Vec<Passage> {
                (1..).take(count).map(|number| passage(number, document, 0.5)).collect()
            };
            let (_, words) = passages(&of("a"), &of("b"));
            prop_assert_eq!(words.len(), if count > TOLD { TOLD + 1 } else { count });
        }
    }
}
