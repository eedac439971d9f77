//! The policy: which road a query takes, given what the intent model says.
//!
//! A policy is a file, `routes.toml`. It is parsed once, refused as a whole when
//! anything in it is wrong, and pure ever after: the same policy and the same
//! intent give the same plan, with no clock and no I/O in between.

mod ambiguous;
mod check;
mod decide;
mod enclosed;
mod evidence;
mod explain;
mod file;
mod fusion;
mod guard;
mod position;
mod rerank;
mod rules;
mod step;

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

pub use check::is_collection_name;
pub use decide::{Conditions, ForcedRoad, Open, Opening, Overrides, Plan, PlanReason, open};
pub use enclosed::{NotEnclosed, check_enclosed};
pub use fusion::{FusionChoice, LegWeights};
pub use guard::GuardCheck;
pub use position::Position;
pub use rerank::{RerankChoice, RerankMethod};
pub use rules::RuleInWords;
pub use step::{Direct, Legs, Retrieval, Search, Step};

use self::{
    ambiguous::Ambiguous,
    guard::Guard,
    step::{Action, Settings},
};

/// The policy that serves when no file is configured.
pub const BUILT_IN: &str = include_str!("../../deploy/config/routes.toml");

/// The most collections that one query searches.
pub const MAX_COLLECTIONS: usize = 16;

/// The most passages that one query asks for.
pub const MAX_K: u32 = 100;

/// Passages that are asked for when neither the policy nor the caller says.
pub const DEFAULT_K: u32 = 8;

/// The confidence that is asked for when neither the policy nor the model says.
pub const DEFAULT_THRESHOLD: f64 = 0.5;

/// Intents closer than this count as equally likely when the policy does not say.
pub const DEFAULT_MARGIN: f64 = 0.1;

/// The longest filter of a rule, in bytes. With a caller's it may be longer, and the retriever has the last word.
const MAX_FILTER_BYTES: usize = 4_096;

/// A policy that was read and found whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    text: String,
    version: String,
    settings: Settings,
    threshold: f64,
    default: Action,
    guards: Vec<Guard>,
    ambiguous: Ambiguous,
    low_confidence: Action,
    out_of_scope: Rule,
    on_retriever_away: RetrieverAway,
    intents: BTreeMap<String, Mapped>,
}

/// What is done with a query that needs passages while no collection can be searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetrieverAway {
    /// It fails, with the reason.
    #[default]
    Fail,
    /// The generator answers without passages, and the answer says so.
    Direct,
}

impl Policy {
    /// Reads a policy from the text of a `routes.toml`.
    ///
    /// `collections` are searched where the text names none. A rule that leaves
    /// `collections`, `k`, `fusion`, `rerank` or `generator` out has those of `[default]`.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(text: &str, collections: &[String]) -> Result<Self, PolicyError> {
        check::policy(text, collections)
    }

    /// The first 16 hexadecimal digits of the SHA-256 of the policy's text.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The text that it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What is done with a query that needs passages while no collection can be searched.
    pub fn on_retriever_away(&self) -> RetrieverAway {
        self.on_retriever_away
    }

    /// Refuses intents that the model cannot give.
    ///
    /// `out_of_scope` is the model's label for queries outside its scope, empty
    /// when it has none.
    ///
    /// # Errors
    /// The first intent of the policy that is not among `labels`, or that is the
    /// out-of-scope label, whose rule is the section `[out_of_scope]`.
    pub fn check_labels(&self, labels: &[String], out_of_scope: &str) -> Result<(), PolicyError> {
        for (intent, mapped) in &self.intents {
            if !labels.contains(intent) {
                let known = labels.join(", ");
                let why = format!("the intent model has no intent {intent:?}; it has {known}");
                return Err(PolicyError { at: mapped.at, why });
            }
            if intent == out_of_scope {
                let why =
                    format!("{intent:?} is the model's out-of-scope label; its rule is the section [out_of_scope]");
                return Err(PolicyError { at: mapped.at, why });
            }
        }
        Ok(())
    }

    /// Where the labels of an intent model and the intents of this policy differ.
    ///
    /// `out_of_scope` is as in [`Self::check_labels`].
    pub fn compare_labels(&self, labels: &[String], out_of_scope: &str) -> LabelDifference {
        let mapped = |label: &String| self.intents.contains_key(label) || label == out_of_scope;
        let given = |intent: &String| labels.contains(intent) && intent != out_of_scope;
        LabelDifference {
            unmapped: labels.iter().filter(|label| !mapped(label)).cloned().collect(),
            unknown: self.intents.keys().filter(|intent| !given(intent)).cloned().collect(),
        }
    }

    /// Every collection that some rule searches, each once, in order of name.
    pub fn collections(&self) -> Vec<&str> {
        let rules = self.intents.values().map(|mapped| &mapped.rule.action);
        let rules = rules.chain(self.guards.iter().map(|guard| &guard.action));
        let rules = rules.chain([&self.default, &self.low_confidence, &self.out_of_scope.action]);
        let rules = rules.chain(self.ambiguous.action());
        let places = rules.filter_map(Action::retrieves).flat_map(|(_, settings)| &settings.collections);
        let places = places.chain(self.ambiguous.places());
        let mut names: Vec<&str> = places.map(|place| place.collection.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What is done with a believed intent. `out_of_scope` says that the model takes the query for outside its scope.
    fn action_for(&self, label: &str, out_of_scope: bool) -> &Action {
        match self.intents.get(label) {
            _ if out_of_scope => &self.out_of_scope.action,
            Some(mapped) => &mapped.rule.action,
            None => &self.default,
        }
    }
}

/// Where an intent model and a policy differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelDifference {
    /// Labels of the model without a rule: their queries take the default road.
    pub unmapped: Vec<String>,
    /// Intents of the policy that the model cannot give: their rules never apply.
    pub unknown: Vec<String>,
}

/// What is done, and the confidence that it asks for.
#[derive(Clone, Debug, PartialEq)]
struct Rule {
    action: Action,
    threshold: Option<f64>,
}

/// The rule of an intent, and the place of its name in the file.
#[derive(Clone, Debug, PartialEq)]
struct Mapped {
    rule: Rule,
    at: Position,
}

/// Why a policy was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {why}")]
pub struct PolicyError {
    /// Where in the file.
    pub at: Position,
    /// What is wrong, and what would be right.
    pub why: String,
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn parse(text: &str) -> Policy {
        Policy::parse(text, &labels(&["docs"])).expect("a policy that is right")
    }

    #[test]
    fn the_version_is_the_digest_of_the_text() {
        // The SHA-256 of "version = 1\n", computed with sha256sum.
        assert_eq!(parse("version = 1\n").version(), "dbab12665d98aef0");
        assert_ne!(parse("version = 1\n").version(), parse("version = 1\n\n").version());
    }

    #[test]
    fn the_built_in_policy_is_right() {
        let policy = parse(BUILT_IN);
        let intents: Vec<_> = policy.intents.keys().map(String::as_str).collect();
        let expected = ["comparison", "factual", "how_to", "lookup", "small_talk", "text_task", "troubleshooting"];
        assert_eq!(intents, expected);
        assert_eq!(policy.collections(), ["docs"]);
    }

    #[test]
    fn intents_that_the_model_lacks_are_refused_with_their_place() {
        let policy = parse("version = 1\n\n[intents.lookup]\nroute = \"lexical\"\n");
        assert_eq!(policy.check_labels(&labels(&["how_to", "lookup"]), ""), Ok(()));
        let error = policy.check_labels(&labels(&["how_to", "oos"]), "oos").expect_err("lookup is missing");
        assert_eq!(
            error.to_string(),
            "line 3, column 10: the intent model has no intent \"lookup\"; it has how_to, oos"
        );
        let error = policy.check_labels(&labels(&["lookup"]), "lookup").expect_err("it is the out-of-scope label");
        assert!(error.why.contains("[out_of_scope]"), "{error}");
    }

    #[test]
    fn labels_are_compared_both_ways() {
        let policy = parse("version = 1\n[intents.a]\nroute = \"lexical\"\n[intents.b]\nroute = \"lexical\"\n");
        for (names, out_of_scope, unmapped, unknown) in [
            (&["a", "b"][..], "", &[][..], &[][..]),
            (&["a", "b", "oos"], "oos", &[], &[]),
            // A model that tells such queries by a score has no such label.
            (&["a", "b"], "oos", &[], &[]),
            (&["a", "b", "c"], "", &["c"], &[]),
            (&["a"], "", &[], &["b"]),
            (&["a", "b"], "b", &[], &["b"]),
        ] {
            let expected = LabelDifference { unmapped: labels(unmapped), unknown: labels(unknown) };
            assert_eq!(policy.compare_labels(&labels(names), out_of_scope), expected, "{names:?} {out_of_scope:?}");
        }
    }

    #[test]
    fn collections_are_gathered_from_all_rules() {
        let text = "version = 1\n[default]\ncollections = [\"b\"]\n[intents.x]\nroute = \"lexical\"\ncollections = [\"a\", \"b\"]\n";
        assert_eq!(parse(text).collections(), ["a", "b"]);
    }
}
