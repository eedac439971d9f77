//! What was exported and logged, in the form in which the contract judges it.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value::Value as Wire},
    metrics::v1::{Metric as WireMetric, metric::Data},
    trace::v1::{Span as WireSpan, span::Event},
};
use serde_json::Value as Json;
use trivium_telemetry::check::{SeenLog, SeenMetric, SeenSpan, Value};

/// A span of a service.
pub fn span(service: &str, span: &WireSpan) -> SeenSpan {
    let kind = match span.kind {
        2 => "server",
        3 => "client",
        _ => "internal",
    };
    SeenSpan {
        service: short(service),
        name: span.name.clone(),
        kind: kind.to_owned(),
        trace_id: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: hex(&span.parent_span_id),
        attributes: attributes(&span.attributes),
        events: span.events.iter().map(|event| within(service, event)).collect(),
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
    }
}

/// A metric of a service.
pub fn metric(service: &str, metric: WireMetric) -> SeenMetric {
    let (kind, series) = match metric.data.expect("a metric has data") {
        Data::Gauge(gauge) => ("gauge", labels(gauge.data_points.iter().map(|point| &point.attributes))),
        Data::Sum(sum) => {
            let kind = if sum.is_monotonic { "counter" } else { "updowncounter" };
            (kind, labels(sum.data_points.iter().map(|point| &point.attributes)))
        }
        Data::Histogram(histogram) => {
            ("histogram", labels(histogram.data_points.iter().map(|point| &point.attributes)))
        }
        other => panic!("{} is of no kind that there should be: {other:?}", metric.name),
    };
    SeenMetric { service: short(service), name: metric.name, unit: metric.unit, kind: kind.to_owned(), series }
}

/// The lines that Trivium wrote into a log of JSON lines; those of its libraries are left out.
pub fn log(text: &str) -> Vec<SeenLog> {
    text.lines().filter_map(line).collect()
}

fn line(text: &str) -> Option<SeenLog> {
    let line: Json = serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON in the log: {error}: {text}"));
    let target = line["target"].as_str().expect("a target");
    let service = ["router", "retriever", "model_host", "cli", "service_kit"]
        .into_iter()
        .find(|name| target.starts_with(&format!("trivium_{name}")) || target.starts_with(&format!("trivium::{name}")));
    let service = match service {
        Some(name) => name.replace('_', "-"),
        // The binary's own modules.
        None if target == "trivium" || target.starts_with("trivium::") => "cli".to_owned(),
        None => return None,
    };
    let fields = line["fields"].as_object().expect("fields");
    Some(SeenLog {
        service,
        message: line["message"].as_str().expect("a message").to_owned(),
        level: line["level"].as_str().expect("a level").to_lowercase(),
        fields: fields.iter().map(|(name, value)| (name.clone(), of_json(value))).collect(),
    })
}

fn of_json(value: &Json) -> Value {
    match value {
        Json::String(text) => Value::Text(text.clone()),
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(number) => Value::Int(number),
            None => Value::Double(number.as_f64().expect("a number")),
        },
        _ => Value::Other,
    }
}

/// An event of a span is a log event; the SDK adds its level and target.
fn within(service: &str, event: &Event) -> SeenLog {
    let mut fields = attributes(&event.attributes);
    fields.remove("target");
    let level = fields.remove("level");
    let level = level.as_ref().and_then(Value::text).unwrap_or_default().to_lowercase();
    SeenLog { service: short(service), message: event.name.clone(), level, fields }
}

fn labels<'a>(points: impl Iterator<Item = &'a Vec<KeyValue>>) -> Vec<BTreeMap<String, Value>> {
    points.map(|point| attributes(point)).collect()
}

fn attributes(attributes: &[KeyValue]) -> BTreeMap<String, Value> {
    attributes.iter().map(|attribute| (attribute.key.clone(), value(attribute.value.as_ref()))).collect()
}

fn value(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        Some(Wire::StringValue(text)) => Value::Text(text.clone()),
        Some(Wire::IntValue(number)) => Value::Int(*number),
        Some(Wire::DoubleValue(number)) => Value::Double(*number),
        Some(Wire::BoolValue(flag)) => Value::Bool(*flag),
        Some(Wire::ArrayValue(array)) => {
            let texts = array.values.iter().map(|value| match &value.value {
                Some(Wire::StringValue(text)) => Some(text.clone()),
                _ => None,
            });
            let numbers = array.values.iter().map(|value| match &value.value {
                Some(Wire::DoubleValue(number)) => Some(*number),
                _ => None,
            });
            match (texts.collect::<Option<Vec<_>>>(), numbers.collect::<Option<Vec<_>>>()) {
                (Some(texts), _) => Value::Texts(texts),
                (None, Some(numbers)) => Value::Doubles(numbers),
                (None, None) => Value::Other,
            }
        }
        _ => Value::Other,
    }
}

fn short(service: &str) -> String {
    service.strip_prefix("trivium-").unwrap_or(service).to_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
