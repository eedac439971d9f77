//! Log events against the contract.

use super::{Judge, SeenLog, Value};
use crate::Type;

pub(super) fn violations(judge: &Judge<'_>, logs: &[SeenLog]) -> Vec<String> {
    logs.iter().flat_map(|log| one(judge, log)).collect()
}

fn one(judge: &Judge<'_>, log: &SeenLog) -> Vec<String> {
    let SeenLog { service, message, level, fields } = log;
    let mut found: Vec<String> = judge.content("a log message", &Value::Text(message.clone())).into_iter().collect();
    let is_it =
        |listed: &&crate::Log| listed.message == *message && (listed.service == *service || listed.service == "any");
    let Some(listed) = judge.contract.logs.iter().find(is_it) else {
        found.push(format!("no log event of {service} is {message:?}"));
        return found;
    };
    if listed.level != *level {
        found.push(format!("the log event {message:?} is of level {level} and not {}", listed.level));
    }
    for (name, value) in fields {
        let place = format!("the field {name} of the log event {message:?}");
        // In an event of a span, the causes of an error stand beside it.
        let kind = match name.strip_suffix(".chain") {
            Some(error) if listed.fields.contains_key(error) => Some(&Type::Texts),
            _ => listed.fields.get(name),
        };
        match kind {
            None => found.push(format!("{place} is not in the contract")),
            Some(kind) if !value.is_of(*kind) => found.push(format!("{place} is no {}: {value:?}", kind.name())),
            Some(_) => {}
        }
        found.extend(judge.content(&place, value));
    }
    found
}
