//! Spans against the contract.

use std::collections::{BTreeMap, BTreeSet};

use super::{Judge, SeenSpan, Value, logs};
use crate::{Contract, Span, When};

pub(super) fn violations(judge: &Judge<'_>, spans: &[SeenSpan]) -> Vec<String> {
    let by_id: BTreeMap<(&str, &str), &SeenSpan> =
        spans.iter().map(|span| ((span.trace_id.as_str(), span.id.as_str()), span)).collect();
    let mut found = Vec::new();
    for span in spans {
        let place = format!("{} of {}", span.name, span.service);
        if let Some(leak) = judge.content(&place, &Value::Text(span.name.clone())) {
            found.push(leak);
        }
        let Some(id) = identify(judge.contract, span) else {
            found.push(format!(
                "no span of the contract is named {} in {}, with kind {}",
                span.name, span.service, span.kind
            ));
            continue;
        };
        let parent = by_id.get(&(span.trace_id.as_str(), span.parent.as_str())).copied();
        found.extend(misplaced(judge.contract, id, parent));
        found.extend(attributes(judge, id, span));
        found.extend(logs::violations(judge, &span.events));
    }
    found
}

/// The contract's name of a span: the one of its service and kind whose exported name it has.
pub(super) fn identify<'a>(contract: &'a Contract, span: &SeenSpan) -> Option<&'a str> {
    let is_it = |listed: &Span| {
        listed.services.contains(&span.service)
            && listed.kind.split(" or ").any(|kind| kind == span.kind)
            && names(listed, span).contains(&span.name)
    };
    contract.spans.iter().find(|(_, listed)| is_it(listed)).map(|(id, _)| id.as_str())
}

/// The names that a span may have with its attributes.
fn names(listed: &Span, span: &SeenSpan) -> Vec<String> {
    if listed.name.iter().all(|form| !form.contains('{')) {
        return listed.name.clone();
    }
    listed.name.iter().find_map(|form| filled(form, span)).into_iter().collect()
}

/// A form of a name with the span's attributes in it; `None` where one is not there. What the contract does not know has
/// no name of its own.
fn filled(form: &str, span: &SeenSpan) -> Option<String> {
    let Some((before, rest)) = form.split_once('{') else { return Some(form.to_owned()) };
    let (key, after) = rest.split_once('}')?;
    let value = span.attributes.get(key)?.text().filter(|value| *value != "_OTHER")?;
    Some(format!("{before}{value}{after}"))
}

fn misplaced(contract: &Contract, id: &str, parent: Option<&SeenSpan>) -> Option<String> {
    let parents = &contract.spans[id].parents;
    let parent = match parent {
        // A parent that the contract does not have is a fault of its own.
        Some(parent) => identify(contract, parent)?,
        None => "none",
    };
    (!parents.iter().any(|allowed| allowed == parent))
        .then(|| format!("{id} is under {parent}, and not under {parents:?}"))
}

fn attributes(judge: &Judge<'_>, id: &str, span: &SeenSpan) -> Vec<String> {
    let listed = &judge.contract.spans[id];
    let mut found = Vec::new();
    for (exported, value) in &span.attributes {
        let place = format!("{exported} of {id}");
        let Some((name, attribute)) =
            judge.contract.attribute(exported).filter(|(name, _)| listed.attributes.contains_key(*name))
        else {
            found.push(format!("{place} is not in the contract"));
            continue;
        };
        if !value.is_of(attribute.kind) {
            found.push(format!("{place} is no {}: {value:?}", attribute.kind.name()));
        }
        if let (Some(values), Some(text)) = (&attribute.values, value.text())
            && !values.iter().any(|value| value == text)
        {
            found.push(format!("{place} is {text:?}, which is none of its values"));
        }
        if attribute.content && !judge.capture_content {
            found.push(format!("{place} holds content, which is not captured"));
        }
        if name == "openinference.span.kind" && value.text() != Some(&listed.openinference) {
            found.push(format!("{place} is {value:?} and not {}", listed.openinference));
        }
        found.extend(judge.content(&place, value));
    }
    let always = listed.attributes.iter().filter(|(_, when)| **when == When::Always);
    let missing = always.filter(|(name, _)| !span.attributes.contains_key(*name));
    found.extend(missing.map(|(name, _)| format!("{id} has no {name}")));
    found
}

pub(super) fn unseen(judge: &Judge<'_>, spans: &[SeenSpan]) -> Vec<String> {
    let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for span in spans {
        if let Some(id) = identify(judge.contract, span) {
            let names = span.attributes.keys().filter_map(|name| Some(judge.contract.attribute(name)?.0));
            seen.entry(id).or_default().extend(names);
        }
    }
    let mut unseen = Vec::new();
    for (id, listed) in judge.contract.spans.iter().filter(|(_, listed)| listed.undriven.is_none()) {
        let Some(seen) = seen.get(id.as_str()) else {
            unseen.push(format!("no span {id} was seen"));
            continue;
        };
        let may_be = |name: &str| judge.capture_content || !judge.contract.attributes[name].content;
        let expected = listed.attributes.iter().filter(|(name, when)| when.is_driven() && may_be(name));
        let absent = expected.filter(|(name, _)| !seen.contains(name.as_str()));
        unseen.extend(absent.map(|(name, _)| format!("no {name} of {id} was seen")));
    }
    unseen
}
