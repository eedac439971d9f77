//! What is done when two intents are about equally likely.
//!
//! Intents within the margin of the most probable one are contenders. When they have the threshold together, it is one
//! of them, and nobody knows which: so every collection that a contender would have searched is searched. A contender
//! that searches nothing loses against one that does, since an answer from nothing is the worse mistake.

use trivium_proto::model::v1::Intent;

use super::{
    FusionChoice, Legs, Overrides, Policy, RerankChoice, Retrieval, Step, evidence,
    step::{Action, Place, Settings},
};

/// The section `[ambiguous]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ambiguous {
    /// Intents closer than this to the most probable one count as equally likely, 0 to 1; 0 means that none do.
    pub margin: f64,
    /// What is done then.
    pub action: Resolution,
}

impl Ambiguous {
    /// The road of its own, where it has one.
    pub fn action(&self) -> Option<&Action> {
        match &self.action {
            Resolution::Take(action) => Some(action),
            Resolution::Blend(_) => None,
        }
    }

    /// Where a blend searches instead of where its parts would.
    pub fn places(&self) -> &[Place] {
        match &self.action {
            Resolution::Blend(changes) => changes.places.as_deref().unwrap_or_default(),
            Resolution::Take(_) => &[],
        }
    }
}

/// What is done when intents are equally likely.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Resolution {
    /// Their roads are put together.
    Blend(Changes),
    /// A road of its own is taken.
    Take(Action),
}

/// What the section `[ambiguous]` asks of a blend; what is `None` the contenders decide.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub places: Option<Vec<Place>>,
    pub k: Option<u32>,
    pub fusion: Option<FusionChoice>,
    pub rerank: Option<RerankChoice>,
    pub generator: Option<String>,
    pub prompt: Option<String>,
}

/// A step for intents that are equally likely.
pub(super) struct Resolved<'a> {
    /// The labels, most probable first; at least two.
    pub labels: Vec<&'a str>,
    /// What is done.
    pub step: Step,
}

/// The step for a query whose most probable intents are too close to tell apart. `None` when they are not, when none
/// of them searches anything, or when the most probable one is believed and the others would do the same.
pub(super) fn resolve<'a>(
    policy: &Policy,
    intent: &'a Intent,
    threshold: f64,
    wishes: &Overrides,
) -> Option<Resolved<'a>> {
    let contenders = contenders(policy, intent, threshold)?;
    let first = contenders.first()?.action;
    let searching: Vec<(&Contender, (Legs, &Settings))> =
        contenders.iter().filter_map(|contender| Some((contender, contender.action.retrieves()?))).collect();
    let is_believed = intent.confidence >= threshold;
    if searching.is_empty() || (is_believed && searching.iter().all(|(contender, _)| contender.action == first)) {
        return None;
    }
    let step = match &policy.ambiguous.action {
        Resolution::Take(action) => action.step(wishes),
        Resolution::Blend(changes) => Step::Retrieve(blend(policy, intent, threshold, &searching, changes, wishes)),
    };
    Some(Resolved { labels: contenders.iter().map(|contender| contender.label).collect(), step })
}

/// An intent that may be the right one.
struct Contender<'p, 'i> {
    label: &'i str,
    probability: f64,
    action: &'p Action,
}

/// The intents within the margin, most probable first. `None` when there is one alone, or when even together they do
/// not have the threshold.
fn contenders<'p, 'i>(policy: &'p Policy, intent: &'i Intent, threshold: f64) -> Option<Vec<Contender<'p, 'i>>> {
    let least = intent.confidence - policy.ambiguous.margin;
    let near = |(place, (_, probability)): &(usize, (&str, f64))| *place == 0 || *probability > least;
    let contenders: Vec<_> = evidence::scores(intent)
        .enumerate()
        .filter(near)
        .map(|(place, (label, probability))| {
            let out_of_scope = place == 0 && intent.out_of_scope;
            Contender { label, probability, action: policy.action_for(label, out_of_scope) }
        })
        .collect();
    let together: f64 = contenders.iter().map(|contender| contender.probability).sum();
    (contenders.len() > 1 && together >= threshold).then_some(contenders)
}

fn blend(
    policy: &Policy,
    intent: &Intent,
    threshold: f64,
    searching: &[(&Contender, (Legs, &Settings))],
    changes: &Changes,
    wishes: &Overrides,
) -> Retrieval {
    let mut parts = searching.iter().map(|(_, (_, settings))| *settings);
    let mut settings = parts.next().cloned().unwrap_or_else(|| policy.settings.clone());
    parts.for_each(|other| settings.join(other));
    // The weights of one contender are not those of all.
    settings.fusion.weights = None;
    changes.apply(&mut settings);
    let first = searching.first().map_or(Legs::Hybrid, |(_, (legs, _))| *legs);
    let agreed = searching.iter().all(|(_, (legs, _))| *legs == first);
    let mass: f64 = searching.iter().map(|(contender, _)| contender.probability).sum();
    let are_believed = agreed && mass >= threshold;
    let legs = if are_believed { first } else { Legs::Hybrid };
    let mut retrieval = settings.retrieval(legs, wishes);
    if legs == Legs::Hybrid && retrieval.weights().is_none() {
        retrieval.weigh(evidence::weights(policy, intent));
    }
    retrieval
}

impl Changes {
    fn apply(&self, settings: &mut Settings) {
        if let Some(places) = &self.places {
            settings.collections.clone_from(places);
        }
        settings.k = self.k.unwrap_or(settings.k);
        settings.fusion = self.fusion.unwrap_or(settings.fusion);
        settings.rerank = self.rerank.unwrap_or(settings.rerank);
        settings.generator = self.generator.clone().or_else(|| settings.generator.take());
        settings.prompt = self.prompt.clone().or_else(|| settings.prompt.take());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trivium_proto::model::v1::IntentScore;

    use super::*;
    use crate::policy::{Open, Plan, PlanReason};

    const RULES: &str = r#"
        [intents.lookup]
        route = "lexical"
        [intents.codes]
        route = "lexical"
        collections = ["errors"]
        k = 12
        [intents.factual]
        route = "semantic"
        collections = ["handbook"]
        generator = "local"
        [intents.chat]
        route = "reply"
        reply = "hello"
        [intents.task]
        route = "direct"
    "#;

    fn policy(ambiguous: &str) -> Policy {
        let text = format!("version = 1\n[ambiguous]\n{ambiguous}\n{RULES}");
        Policy::parse(&text, &["docs".to_owned()]).expect("a policy that is right")
    }

    fn intent(scores: &[(&str, f64)]) -> Intent {
        let score =
            |(label, probability): &(&str, f64)| IntentScore { label: (*label).to_owned(), probability: *probability };
        let (label, confidence) = scores[0];
        let runners_up = scores[1..].iter().map(score).collect();
        Intent { label: label.to_owned(), confidence, runners_up, ..Intent::default() }
    }

    fn decide(ambiguous: &str, scores: &[(&str, f64)]) -> Plan {
        Open::default().decide(&policy(ambiguous), &intent(scores), &Overrides::default())
    }

    fn collections(plan: &Plan) -> Vec<String> {
        match &plan.step {
            Step::Retrieve(retrieval) => retrieval.collections(),
            Step::Direct(_) | Step::Reply(_) => Vec::new(),
        }
    }

    #[test]
    fn close_intents_are_put_together() {
        use PlanReason::{Ambiguous, Intent, LowConfidence};
        type Row<'a> = (&'a [(&'a str, f64)], PlanReason, &'a str, &'a [&'a str]);
        let table: [Row; 12] = [
            // Far apart: the first alone.
            (&[("lookup", 0.6), ("factual", 0.3)], Intent, "lexical", &["docs"]),
            // Both roads, both collections.
            (&[("lookup", 0.5), ("factual", 0.45)], Ambiguous, "hybrid", &["docs", "handbook"]),
            // Neither has the threshold alone; together they do.
            (&[("factual", 0.4), ("lookup", 0.35)], Ambiguous, "hybrid", &["handbook", "docs"]),
            // Not even together.
            (&[("factual", 0.2), ("lookup", 0.15)], LowConfidence, "hybrid", &["docs"]),
            // Both say words, and only the place is open.
            (&[("lookup", 0.5), ("codes", 0.45)], Ambiguous, "lexical", &["docs", "errors"]),
            // Three of them.
            (
                &[("lookup", 0.3), ("codes", 0.3), ("factual", 0.25)],
                Ambiguous,
                "hybrid",
                &["docs", "errors", "handbook"],
            ),
            // What searches wins against what does not, whichever is first.
            (&[("chat", 0.5), ("factual", 0.45)], Ambiguous, "hybrid", &["handbook"]),
            (&[("lookup", 0.45), ("task", 0.4)], Ambiguous, "hybrid", &["docs"]),
            // A first that is believed needs no help from one that searches nothing.
            (&[("lookup", 0.5), ("chat", 0.45)], Intent, "lexical", &["docs"]),
            // Nobody searches: the ordinary rule.
            (&[("chat", 0.5), ("task", 0.45)], Intent, "reply", &[]),
            (&[("chat", 0.45), ("task", 0.4)], LowConfidence, "hybrid", &["docs"]),
            // One without a rule has the default's.
            (&[("codes", 0.5), ("unheard_of", 0.45)], Ambiguous, "hybrid", &["errors", "docs"]),
        ];
        for (scores, reason, road, expected) in table {
            let plan = decide("", scores);
            assert_eq!((plan.reason, plan.step.road()), (reason, road), "{scores:?}");
            assert_eq!(collections(&plan), expected, "{scores:?}");
        }
    }

    #[test]
    fn the_most_probable_one_says_who_answers_and_the_most_passages_count() {
        let Step::Retrieve(retrieval) = decide("", &[("factual", 0.5), ("codes", 0.45)]).step else {
            panic!("a road with retrieval")
        };
        assert_eq!((retrieval.k, retrieval.generator.as_deref()), (12, Some("local")));
        let weights = retrieval.weights().expect("weights from the evidence");
        assert_eq!((weights.lexical(), weights.semantic()), (0.45, 0.5));
    }

    #[test]
    fn the_section_has_the_last_word() {
        let close = [("lookup", 0.5), ("factual", 0.45)];
        assert_eq!(decide("margin = 0.01", &close).reason, PlanReason::Intent);
        assert_eq!(decide("margin = 0", &close).reason, PlanReason::Intent);
        let asked = decide("route = \"reply\"\nreply = \"which one?\"", &close);
        assert_eq!((asked.reason, asked.step), (PlanReason::Ambiguous, Step::Reply("which one?".into())));
        let changed =
            decide("collections = [\"all\"]\nk = 3\nfusion = { weights = { lexical = 1, semantic = 1 } }", &close);
        assert_eq!(collections(&changed), ["all"]);
        let Step::Retrieve(retrieval) = changed.step else { panic!("a road with retrieval") };
        let weights = retrieval.weights().expect("those of the section");
        assert_eq!((retrieval.k, weights.lexical(), weights.own()), (3, 1.0, 0.0));
    }

    #[test]
    fn a_strange_query_is_out_of_scope_and_not_ambiguous() {
        let close = intent(&[("lookup", 0.5), ("factual", 0.45)]);
        let strange = Intent { out_of_scope: true, strangeness: Some(9.0), ..close.clone() };
        let decide = |intent: &Intent| Open::default().decide(&policy(""), intent, &Overrides::default()).reason;
        assert_eq!(decide(&strange), PlanReason::OutOfScope);
        // A label that means "outside" is one probability among others.
        assert_eq!(decide(&Intent { out_of_scope: true, ..close }), PlanReason::Ambiguous);
    }

    #[test]
    fn explanations_name_the_intents_and_what_follows() {
        let plan = decide("", &[("lookup", 0.5), ("factual", 0.4375)]);
        assert_eq!(
            plan.explanation,
            "lookup at 0.50 and factual at 0.44 are closer than 0.10: hybrid (words 0.50, meaning 0.44, the \
             collection's own blend 0.06), in docs and handbook"
        );
    }

    proptest! {
        #[test]
        fn an_answer_from_nothing_is_never_given_while_something_that_searches_is_as_likely(
            first in 0.05..1.0_f64,
            gap in 0.0..0.099_f64,
            blind in prop::sample::select(vec!["chat", "task"]),
            searching in prop::sample::select(vec!["lookup", "codes", "factual"]),
        ) {
            let plan = decide("", &[(blind, first), (searching, (first - gap).max(0.0))]);
            prop_assert!(matches!(plan.step, Step::Retrieve(_)), "{:?}", plan);
        }

        #[test]
        fn a_plan_searches_each_collection_once_with_the_same_legs_and_weights(
            scores in prop::collection::vec((0_usize..6, 0.0..1.0_f64), 1..6),
        ) {
            let labels = ["lookup", "codes", "factual", "chat", "task", "unheard_of"];
            let total: f64 = scores.iter().map(|(_, score)| score).sum::<f64>().max(1.0);
            let mut scores: Vec<_> = scores.iter().map(|(label, score)| (labels[*label], score / total)).collect();
            scores.sort_by(|a, b| b.1.total_cmp(&a.1));
            if let Step::Retrieve(retrieval) = decide("", &scores).step {
                let mut names = retrieval.collections();
                let count = names.len();
                names.sort_unstable();
                names.dedup();
                prop_assert!(count > 0 && names.len() == count);
                let first = &retrieval.searches[0];
                prop_assert!(retrieval.searches.iter().all(|s| s.legs == first.legs && s.fusion == first.fusion));
            }
        }
    }
}
