//! What is generated from the contract: the constants and the reference page.

use std::fmt::Write;

use crate::{Contract, Label, Metric, MetricKind};

/// The Rust source of the constants.
pub fn constants(contract: &Contract) -> String {
    let mut out = String::from(
        "//! The names of the contract.\n//!\n//! Generated from `telemetry.toml` by `make telemetry`; not edited by hand.\n\n",
    );
    out.push_str(METRIC_TYPE);
    out.push_str("\n/// Keys of attributes.\npub mod attribute {\n");
    for (name, attribute) in &contract.attributes {
        // Names with a number in them are put together where they are used.
        if !name.contains("{n}") {
            constant(&mut out, name, &attribute.brief, name);
        }
    }
    out.push_str("}\n\n/// Names of spans, as the code has them.\npub mod span {\n");
    for (name, span) in &contract.spans {
        constant(&mut out, name, &span.brief, name);
    }
    out.push_str("}\n\n/// Metrics.\npub mod metric {\n    use super::Metric;\n\n");
    for (name, metric) in &contract.metrics {
        instrument(&mut out, contract, name, metric);
    }
    let all: Vec<String> = contract.metrics.keys().map(|name| upper(name)).collect();
    let _ = writeln!(out, "    /// All of them.\n    pub const ALL: [&Metric; {}] = [", all.len());
    for name in all {
        let _ = writeln!(out, "        &{name},");
    }
    out.push_str("    ];\n}\n");
    out
}

const METRIC_TYPE: &str = "/// What an instrument is made with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What it counts.
    pub description: &'static str,
    /// Bounds of its buckets, for histograms.
    pub bounds: &'static [f64],
}
";

fn constant(out: &mut String, name: &str, brief: &str, value: &str) {
    let _ = writeln!(out, "    /// {brief}\n    pub const {}: &str = {value:?};", upper(name));
}

fn instrument(out: &mut String, contract: &Contract, name: &str, metric: &Metric) {
    let bounds: Vec<String> = contract.bounds(metric).iter().map(|bound| format!("{bound:?}")).collect();
    let _ = writeln!(
        out,
        "    /// {}.\n    pub const {}: Metric = Metric {{\n        name: {name:?},\n        unit: {:?},\n        description: {:?},\n        bounds: &[{}],\n    }};",
        metric.brief,
        upper(name),
        metric.unit,
        metric.brief,
        bounds.join(", ")
    );
}

/// `trivium.batch.id` as `TRIVIUM_BATCH_ID`.
fn upper(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_uppercase() } else { '_' }).collect()
}

/// The reference page, in Markdown.
pub fn page(contract: &Contract) -> String {
    let mut out = String::from(
        "# Telemetry\n\n\
         Every span, metric and log event that leaves a service. This page is generated from\n\
         [`service-kit/contract/telemetry.toml`](../service-kit/contract/telemetry.toml) by `make telemetry`; a test drives the\n\
         services down every road and every rung of the ladder, and fails on whatever is not as it says here. How to turn\n\
         telemetry on is in the guides on [traces](guides/tracing.md) and [metrics](guides/metrics.md).\n\n\
         Attributes marked **content** hold text of queries, passages or answers, and are there only while\n\
         `telemetry.capture_content` is on. `{n}` stands for a number from 0.\n",
    );
    spans(&mut out, contract);
    metrics(&mut out, contract);
    logs(&mut out, contract);
    out
}

fn spans(out: &mut String, contract: &Contract) {
    out.push_str("\n## Spans\n");
    for (id, span) in &contract.spans {
        let _ = write!(out, "\n### {id}\n\n{}\n\n| | |\n|---|---|\n", span.brief);
        let _ = writeln!(out, "| name | {} |", quoted(&span.name));
        let _ = writeln!(
            out,
            "| kind | {}, OpenInference {} |",
            span.kind.to_uppercase().replace(" OR ", " or "),
            span.openinference
        );
        let _ = writeln!(out, "| services | {} |", span.services.join(", "));
        let _ = writeln!(out, "| under | {} |\n", parents(&span.parents));
        out.push_str("| attribute | type | when | |\n|---|---|---|---|\n");
        for (name, when) in &span.attributes {
            let attribute = &contract.attributes[name];
            let when = when.words();
            let unit = attribute.unit.as_ref().map(|unit| format!(", {unit}")).unwrap_or_default();
            let content = if attribute.content { "**content**: " } else { "" };
            let kind = attribute.kind.name();
            let _ = writeln!(out, "| `{name}` | {kind}{unit} | {when} | {content}{} |", attribute.brief);
        }
    }
}

fn parents(parents: &[String]) -> String {
    let named = parents.iter().map(|parent| match parent.as_str() {
        "none" => "nothing of ours".to_owned(),
        parent => format!("`{parent}`"),
    });
    named.collect::<Vec<_>>().join(", ")
}

fn metrics(out: &mut String, contract: &Contract) {
    out.push_str("\n## Metrics\n\n| metric | Prometheus | kind | labels | services | |\n|---|---|---|---|---|---|\n");
    for (name, metric) in &contract.metrics {
        let labels: Vec<String> = metric.attributes.iter().map(|(name, label)| self::label(name, label)).collect();
        let _ = writeln!(
            out,
            "| `{name}` | `{}` | {}, {} | {} | {} | {} |",
            prometheus(name, metric),
            metric.kind.name(),
            metric.unit,
            labels.join("; "),
            metric.services.join(", "),
            metric.brief
        );
    }
    out.push_str("\n### Bounds of the histograms\n\n| metrics | bounds |\n|---|---|\n");
    for (name, bounds) in &contract.buckets {
        let used = contract.metrics.iter().filter(|(_, metric)| metric.buckets.as_ref() == Some(name));
        let used: Vec<String> = used.map(|(name, _)| format!("`{name}`")).collect();
        let bounds: Vec<String> = bounds.iter().map(f64::to_string).collect();
        let _ = writeln!(out, "| {} | {} |", used.join(", "), bounds.join(", "));
    }
}

fn label(name: &str, label: &Label) -> String {
    match label {
        Label::Closed(values) => format!("`{name}`: {}", quoted(values)),
        Label::Bound(words) | Label::Undriven { bound: words, .. } => format!("`{name}`: {words}"),
    }
}

fn quoted(values: &[String]) -> String {
    values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
}

/// The name under which Prometheus has the metric: of a histogram, without what it puts behind it.
pub fn prometheus(name: &str, metric: &Metric) -> String {
    let plain = name.replace('.', "_");
    let unit = match metric.unit.as_str() {
        "s" => "_seconds",
        "1" => "_ratio",
        _ => "",
    };
    let total = if metric.kind == MetricKind::Counter { "_total" } else { "" };
    format!("{plain}{unit}{total}")
}

fn logs(out: &mut String, contract: &Contract) {
    out.push_str(
        "\n## Log events\n\nEach line has `timestamp_unix_ms`, `level`, `target`, `message` and, inside a call, `trace_id`. Events of \
         level info and above\nare events of the span that they belong to as well.\n\n\
         | message | level | service | fields |\n|---|---|---|---|\n",
    );
    for log in &contract.logs {
        let fields: Vec<String> = log.fields.iter().map(|(name, kind)| format!("`{name}` {}", kind.name())).collect();
        let _ = writeln!(out, "| {} | {} | {} | {} |", log.message, log.level, log.service, fields.join(", "));
    }
}
