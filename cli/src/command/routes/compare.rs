//! What a policy changes against another one: in its rules, and for sample queries.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use trivium_proto::model::v1::{AnalyzeRequest, Intent};
use trivium_router::policy::{Opening, Overrides, Plan, Policy, Step, open};
use trivium_service_kit::{Error, Reason};

use super::samples::Query;
use crate::clients::ModelHost;

/// Queries that are analysed at the same time.
const SIDE_BY_SIDE: usize = 8;

/// A rule that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleChange {
    /// The section of the file.
    pub rule: String,
    /// What the running policy does; `None` when it has no such rule.
    pub running: Option<String>,
    /// What the file does; `None` when it has no such rule.
    pub file: Option<String>,
}

/// The rules that differ, in order of section.
pub fn rules(running: &Policy, file: &Policy) -> Vec<RuleChange> {
    let by_section = |policy: &Policy| -> BTreeMap<String, String> {
        policy.rules().into_iter().map(|rule| (rule.section, rule.does)).collect()
    };
    let (running, file) = (by_section(running), by_section(file));
    let sections: BTreeSet<&String> = running.keys().chain(file.keys()).collect();
    let change = |rule: &String| RuleChange {
        rule: rule.clone(),
        running: running.get(rule).cloned(),
        file: file.get(rule).cloned(),
    };
    sections.into_iter().map(change).filter(|change| change.running != change.file).collect()
}

/// What a query would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sample {
    /// The query.
    pub query: String,
    /// The intent that the file of samples names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The most probable intent; empty when a guard spared the model, or it could not be asked.
    pub intent: String,
    /// Its calibrated probability, 0 to 1.
    pub confidence: f64,
    /// What it does now; `None` when the router cannot be asked, or the intent is not known.
    pub running: Option<Outcome>,
    /// What it would do; `None` when the intent is not known.
    pub file: Option<Outcome>,
    /// Whether anything about it changes.
    pub changed: bool,
}

/// What a policy does with a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// The road.
    pub route: String,
    /// Where is searched.
    pub collections: Vec<String>,
    /// The rule that chose.
    pub reason: &'static str,
    /// That rule in words.
    pub explanation: String,
}

impl From<&Plan> for Outcome {
    fn from(plan: &Plan) -> Self {
        let collections = match &plan.step {
            Step::Retrieve(retrieval) => retrieval.collections(),
            Step::Direct(_) | Step::Reply(_) => Vec::new(),
        };
        Self {
            route: plan.step.road().to_owned(),
            collections,
            reason: plan.reason.name(),
            explanation: plan.explanation.clone(),
        }
    }
}

/// Decides each query by both policies, from one analysis each by the model that serves. A model host that does not
/// run, or serves no intent model, leaves open what no guard settles.
///
/// # Errors
/// When the model host refuses a query.
pub async fn samples(
    queries: Vec<Query>,
    running: Option<&Policy>,
    file: &Policy,
    host: &ModelHost,
) -> anyhow::Result<Vec<Sample>> {
    let intents: Vec<Option<Intent>> =
        stream::iter(queries.iter().map(|query| analyzed(&query.text, running, file, host)))
            .buffered(SIDE_BY_SIDE)
            .try_collect()
            .await?;
    Ok(queries.into_iter().zip(intents).map(|(query, intent)| sample(query, intent, running, file)).collect())
}

/// The intent, where one of the policies needs it.
async fn analyzed(
    text: &str,
    running: Option<&Policy>,
    file: &Policy,
    host: &ModelHost,
) -> Result<Option<Intent>, Error> {
    let is_open = |policy: &Policy| matches!(open(policy, text, None, &Overrides::default()), Opening::Open(_));
    if !is_open(file) && running.is_none_or(|running| !is_open(running)) {
        return Ok(None);
    }
    let request = AnalyzeRequest { text: text.to_owned(), intent: true, ..AnalyzeRequest::default() };
    match host.analyze(request).await {
        Ok(response) => Ok(response.intent),
        Err(error) if matches!(error.reason(), Reason::ModelHostUnavailable | Reason::NoModel) => Ok(None),
        Err(error) => Err(error),
    }
}

fn sample(query: Query, intent: Option<Intent>, running: Option<&Policy>, file: &Policy) -> Sample {
    let before = running.and_then(|running| plan(running, &query.text, intent.as_ref()));
    let after = plan(file, &query.text, intent.as_ref());
    let changed = matches!((&before, &after), (Some(before), Some(after)) if before.step != after.step);
    let intent = intent.unwrap_or_default();
    Sample {
        query: query.text,
        label: query.label,
        intent: intent.label,
        confidence: intent.confidence,
        running: before.as_ref().map(Outcome::from),
        file: after.as_ref().map(Outcome::from),
        changed,
    }
}

fn plan(policy: &Policy, query: &str, intent: Option<&Intent>) -> Option<Plan> {
    let wishes = Overrides::default();
    match open(policy, query, None, &wishes) {
        Opening::Settled(plan) => Some(*plan),
        Opening::Open(open) => Some(open.decide(policy, intent?, &wishes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Policy {
        Policy::parse(text, &["docs".to_owned()]).expect("a policy that is right")
    }

    fn query(text: &str) -> Query {
        Query { text: text.to_owned(), label: None }
    }

    fn intent(label: &str) -> Option<Intent> {
        Some(Intent { label: label.to_owned(), confidence: 0.9, ..Intent::default() })
    }

    #[test]
    fn rules_that_differ_are_listed_with_both_sides() {
        let before = policy("version = 1\n[intents.a]\nroute = \"lexical\"\n[intents.b]\nroute = \"semantic\"\n");
        let after = policy("version = 1\n[intents.a]\nroute = \"lexical\"\nk = 3\n[intents.c]\nroute = \"semantic\"\n");
        let found = rules(&before, &after);
        let names: Vec<_> = found.iter().map(|change| change.rule.as_str()).collect();
        assert_eq!(names, ["intents.a", "intents.b", "intents.c"]);
        assert_eq!(found[0].file.as_deref(), Some("lexical in docs, 3 passages"));
        assert_eq!((found[1].file.as_ref(), found[2].running.as_ref()), (None, None));
        assert!(rules(&before, &before).is_empty());
    }

    #[test]
    fn a_sample_says_what_it_does_before_and_after() {
        let before = policy("version = 1\n[intents.a]\nroute = \"lexical\"\n");
        let guard = "[[guards]]\nname = \"codes\"\nidentifier = true\nroute = \"semantic\"\n";
        let after = policy(&format!("version = 1\n[intents.a]\nroute = \"lexical\"\n{guard}"));
        let found = sample(query("what is ERR_X_Y"), intent("a"), Some(&before), &after);
        let routes = |sample: &Sample| {
            let route = |outcome: &Option<Outcome>| outcome.as_ref().map(|outcome| outcome.route.clone());
            (route(&sample.running), route(&sample.file))
        };
        assert_eq!(routes(&found), (Some("lexical".into()), Some("semantic".into())));
        assert!(found.changed);
        let same = sample(query("what is it"), intent("a"), Some(&before), &after);
        assert_eq!((routes(&same), same.changed), ((Some("lexical".into()), Some("lexical".into())), false));
    }

    #[test]
    fn without_the_model_only_guards_decide() {
        let guard = "[[guards]]\nname = \"codes\"\nidentifier = true\nroute = \"lexical\"\n";
        let after = policy(&format!("version = 1\n{guard}"));
        assert!(sample(query("what is ERR_X_Y"), None, None, &after).file.is_some());
        let open = sample(query("what is it"), None, None, &after);
        assert_eq!((open.file, open.running, open.changed), (None, None, false));
    }
}
