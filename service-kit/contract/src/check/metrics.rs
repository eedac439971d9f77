//! Metrics against the contract.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, SeenMetric};
use crate::Label;

pub(super) fn violations(judge: &Judge<'_>, metrics: &[SeenMetric]) -> Vec<String> {
    let mut found = Vec::new();
    for metric in metrics {
        let name = &metric.name;
        let Some(listed) = judge.contract.metrics.get(name) else {
            found.push(format!("no metric of the contract is named {name}"));
            continue;
        };
        if !listed.services.contains(&metric.service) {
            found.push(format!("{name} is not a metric of {}", metric.service));
        }
        if listed.unit != metric.unit {
            found.push(format!("{name} is in {:?} and not in {:?}", metric.unit, listed.unit));
        }
        if listed.kind.name() != metric.kind {
            found.push(format!("{name} is a {} and no {}", metric.kind, listed.kind.name()));
        }
        for (label, value) in metric.series.iter().flatten() {
            let place = format!("the label {label} of {name}");
            let Some(bound) = listed.attributes.get(label) else {
                found.push(format!("{place} is not in the contract"));
                continue;
            };
            let attribute = &judge.contract.attributes[label];
            if !value.is_of(attribute.kind) {
                found.push(format!("{place} is no {}: {value:?}", attribute.kind.name()));
            }
            let closed = match bound {
                Label::Closed(values) => Some(values),
                Label::Bound(_) | Label::Undriven { .. } => attribute.values.as_ref(),
            };
            if let (Some(values), Some(text)) = (closed, value.text())
                && !values.iter().any(|value| value == text)
            {
                found.push(format!("{place} is {text:?}, which is none of its values"));
            }
            found.extend(judge.content(&place, value));
        }
    }
    found
}

pub(super) fn unseen(judge: &Judge<'_>, metrics: &[SeenMetric]) -> Vec<String> {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for metric in metrics {
        let labels = metric.series.iter().flat_map(|series| series.keys().map(String::as_str));
        seen.entry(&metric.name).or_default().extend(labels);
    }
    let mut unseen = Vec::new();
    for (name, listed) in judge.contract.metrics.iter().filter(|(_, listed)| listed.undriven.is_none()) {
        match seen.get(name.as_str()) {
            None => unseen.push(format!("no metric {name} was seen")),
            Some(seen) => {
                let driven = listed.attributes.iter().filter(|(_, bound)| !matches!(bound, Label::Undriven { .. }));
                let labels = driven.filter(|(label, _)| !seen.contains(label.as_str()));
                unseen.extend(labels.map(|(label, _)| format!("no label {label} of {name} was seen")));
            }
        }
    }
    unseen
}
