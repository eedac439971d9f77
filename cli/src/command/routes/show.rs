//! What `trivium routes check` found, for people.

use std::collections::BTreeMap;

use super::{
    check::{Intents, Report},
    compare::{Outcome, RuleChange, Sample},
};
use crate::render::{single_line, table::table};

/// The whole report.
pub fn report(report: &Report) -> String {
    let mut lines = vec![
        format!("{}: good, version {}", report.file, report.version),
        format!("  searches {}", report.collections.join(", ")),
        format!("  {}", intents(&report.intents)),
        format!("  {}", running(report)),
    ];
    if !report.rules.is_empty() {
        lines.extend([String::new(), rules(&report.rules)]);
    }
    if !report.queries.is_empty() {
        lines.extend([String::new(), samples(&report.queries), String::new(), counts(report)]);
    }
    lines.join("\n") + "\n"
}

fn intents(intents: &Intents) -> &'static str {
    match intents {
        Intents::Compared => "the serving model has all its intents",
        Intents::NoModel => "no intent model serves, so its intents were not compared",
        Intents::ModelHostUnreachable => "the model host does not run, so its intents were not compared",
    }
}

fn running(report: &Report) -> String {
    match &report.running_version {
        None => "the router does not run, so nothing is said of what would change".to_owned(),
        Some(version) if *version == report.version => "the router runs this very policy".to_owned(),
        Some(version) => format!("the router runs version {version}; {} rules differ", report.rules.len()),
    }
}

fn rules(changes: &[RuleChange]) -> String {
    let side = |does: &Option<String>| does.clone().unwrap_or_else(|| "-".to_owned());
    let row = |change: &RuleChange| [change.rule.clone(), side(&change.running), side(&change.file)];
    table(["rule", "now", "then"], changes.iter().map(row))
}

fn samples(samples: &[Sample]) -> String {
    let row = |sample: &Sample| {
        let why = match &sample.file {
            Some(outcome) => outcome.explanation.clone(),
            None => "the model host gave no intent".to_owned(),
        };
        let mark = if sample.changed { "*" } else { "" };
        let query = single_line(&sample.query);
        [mark.to_owned(), query, outcome(&sample.running), outcome(&sample.file), single_line(&why)]
    };
    table(["", "query", "now", "then", "why"], samples.iter().map(row))
}

fn outcome(outcome: &Option<Outcome>) -> String {
    match outcome {
        None => "?".to_owned(),
        Some(outcome) if outcome.collections.is_empty() => outcome.route.clone(),
        Some(outcome) => format!("{} in {}", outcome.route, outcome.collections.join(", ")),
    }
}

/// How many queries take each road, how many change, and how many labels were met.
fn counts(report: &Report) -> String {
    let mut roads: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in &report.queries {
        *roads.entry(sample.file.as_ref().map_or("undecided", |outcome| &outcome.route)).or_default() += 1;
    }
    let roads: Vec<String> = roads.iter().map(|(road, count)| format!("{road} {count}")).collect();
    let total = report.queries.len();
    let mut lines = vec![format!("{total} queries: {}", roads.join(", "))];
    if report.running_version.is_some() {
        let changed = report.queries.iter().filter(|sample| sample.changed).count();
        lines.push(format!("{changed} of them change"));
    }
    let labelled: Vec<&Sample> =
        report.queries.iter().filter(|sample| sample.label.is_some() && !sample.intent.is_empty()).collect();
    if !labelled.is_empty() {
        let met = labelled.iter().filter(|sample| sample.label.as_ref() == Some(&sample.intent)).count();
        lines.push(format!("the model gives {met} of {} labels as the file does", labelled.len()));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(query: &str, route: &str, changed: bool) -> Sample {
        let outcome = |route: &str| {
            Some(Outcome {
                route: route.to_owned(),
                collections: vec!["docs".into()],
                reason: "intent",
                explanation: format!("because of {route}"),
            })
        };
        Sample {
            query: query.to_owned(),
            label: Some("lookup".to_owned()),
            intent: if changed { "lookup" } else { "how_to" }.to_owned(),
            confidence: 0.9,
            running: outcome("hybrid"),
            file: outcome(route),
            changed,
        }
    }

    #[test]
    fn a_report_counts_roads_changes_and_labels() {
        let found = report(&Report {
            file: "routes.toml".into(),
            good: true,
            error: None,
            version: "aa".into(),
            collections: vec!["docs".into()],
            intents: Intents::Compared,
            running_version: Some("bb".into()),
            rules: vec![RuleChange { rule: "intents.a".into(), running: None, file: Some("lexical in docs".into()) }],
            queries: vec![sample("one", "lexical", true), sample("two", "hybrid", false)],
        });
        for part in [
            "routes.toml: good, version aa",
            "the router runs version bb; 1 rules differ",
            "intents.a",
            "because of lexical",
            "2 queries: hybrid 1, lexical 1",
            "1 of them change",
            "the model gives 1 of 2 labels as the file does",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }
}
