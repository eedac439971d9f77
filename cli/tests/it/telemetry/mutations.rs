//! Telemetry that was captured, changed in one place after another: the judge must notice each change.

use std::collections::BTreeSet;

use trivium_telemetry::{
    Contract, When,
    check::{Captured, Judge, SeenSpan, Value},
};

use super::drive::MARKER;

/// Changes every attribute of every span, every label and name of every metric, and every field of every log event in
/// each way, and asserts that each change is noticed. Gives how many there were.
pub fn assert_each_is_noticed(contract: &Contract, captured: &Captured) -> usize {
    let judge = Judge::new(contract, false, MARKER);
    let attributes: BTreeSet<(&str, &str)> = captured
        .spans
        .iter()
        .filter_map(|span| Some((judge.identify(span)?, span)))
        .flat_map(|(id, span)| span.attributes.keys().filter_map(move |name| Some((id, contract.attribute(name)?.0))))
        .collect();
    let mut mutations = 0;
    let mut check = |what: String, change: &dyn Fn(&mut Captured)| {
        let mut changed = captured.clone();
        change(&mut changed);
        let noticed = !judge.violations(&changed).is_empty() || !judge.unseen(&changed).is_empty();
        assert!(noticed, "nobody notices that {what}");
        mutations += 1;
    };
    for (id, name) in attributes {
        // What the drive need not bring about may be absent.
        let span = &contract.spans[id];
        let may_be_absent =
            span.undriven.is_some() && span.attributes[name] != When::Always || !span.attributes[name].is_driven();
        for (what, change) in WAYS.into_iter().skip(usize::from(may_be_absent)) {
            check(format!("{name} of {id} {what}"), &|changed| {
                let ids: Vec<bool> = changed.spans.iter().map(|span| judge.identify(span) == Some(id)).collect();
                for (span, _) in changed.spans.iter_mut().zip(ids).filter(|(_, is_it)| *is_it) {
                    let exported: Vec<String> = span.attributes.keys().cloned().collect();
                    let own =
                        exported.iter().filter(|own| contract.attribute(own).is_some_and(|(known, _)| known == name));
                    own.for_each(|own| change(span, own));
                }
            });
        }
    }
    let metrics: BTreeSet<&str> = captured.metrics.iter().map(|metric| metric.name.as_str()).collect();
    for metric in metrics {
        check(format!("{metric} has another name"), &|changed| {
            changed.metrics.iter_mut().filter(|own| own.name == metric).for_each(|own| own.name.push_str(".more"));
        });
        check(format!("{metric} has another unit"), &|changed| {
            changed.metrics.iter_mut().filter(|own| own.name == metric).for_each(|own| own.unit.push('s'));
        });
        check(format!("{metric} has another kind"), &|changed| {
            changed.metrics.iter_mut().filter(|own| own.name == metric).for_each(|own| own.kind.push('s'));
        });
        check(format!("{metric} has one label more"), &|changed| {
            let series = changed.metrics.iter_mut().filter(|own| own.name == metric).flat_map(|own| &mut own.series);
            series.for_each(|labels| drop(labels.insert("user.id".to_owned(), Value::Text("u".to_owned()))));
        });
    }
    let messages: BTreeSet<&str> = captured.logs.iter().map(|log| log.message.as_str()).collect();
    for message in messages {
        check(format!("{message:?} is another message"), &|changed| {
            changed.logs.iter_mut().filter(|own| own.message == message).for_each(|own| own.message.push('!'));
        });
        check(format!("{message:?} has one field more"), &|changed| {
            let own = changed.logs.iter_mut().filter(|own| own.message == message);
            own.for_each(|own| drop(own.fields.insert("query".to_owned(), Value::Text("q".to_owned()))));
        });
    }
    check("a log event holds content".to_owned(), &|changed| {
        let fields = changed.logs.iter_mut().flat_map(|log| log.fields.values_mut());
        fields.for_each(|value| *value = Value::Text(MARKER.to_owned()));
    });
    mutations
}

type Change = fn(&mut SeenSpan, &str);

/// The ways in which an attribute may be wrong.
const WAYS: [(&str, Change); 4] = [
    ("is gone", |span, name| drop(span.attributes.remove(name))),
    ("has another name", |span, name| {
        let value = span.attributes.remove(name).expect("it is there");
        span.attributes.insert(format!("{name}.more"), value);
    }),
    ("is of another type", |span, name| drop(span.attributes.insert(name.to_owned(), Value::Other))),
    ("holds content", |span, name| drop(span.attributes.insert(name.to_owned(), Value::Text(MARKER.to_owned())))),
];
