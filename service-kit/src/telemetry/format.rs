//! Log lines that carry the trace they belong to.

use std::{collections::BTreeMap, fmt, time::SystemTime};

use opentelemetry::trace::TraceContextExt;
use serde_json::{Value, json};
use tracing::{
    Event, Subscriber, dispatcher,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime as Rfc3339},
    },
    registry::LookupSpan,
};

use super::LogFormat;

pub(super) struct EventFormat(pub(super) LogFormat);

impl<S, N> FormatEvent<S, N> for EventFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let trace_id = trace_id(context);
        match self.0 {
            LogFormat::Text => text(&mut out, event, &fields, trace_id.as_deref()),
            LogFormat::Json => json_line(&mut out, event, fields, trace_id),
        }
    }
}

fn text(out: &mut Writer<'_>, event: &Event<'_>, fields: &Fields, trace_id: Option<&str>) -> fmt::Result {
    Rfc3339.format_time(out)?;
    write!(out, " {:>5} {}: {}", event.metadata().level(), event.metadata().target(), fields.message)?;
    for (name, value) in &fields.others {
        match value {
            Value::String(value) => write!(out, " {name}={value}")?,
            value => write!(out, " {name}={value}")?,
        }
    }
    if let Some(id) = trace_id {
        write!(out, " trace_id={id}")?;
    }
    writeln!(out)
}

fn json_line(out: &mut Writer<'_>, event: &Event<'_>, fields: Fields, trace_id: Option<String>) -> fmt::Result {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut line = json!({
        "timestamp_unix_ms": u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX),
        "level": event.metadata().level().as_str(),
        "target": event.metadata().target(),
        "message": fields.message,
        "fields": fields.others,
    });
    if let Some(id) = trace_id {
        line["trace_id"] = Value::String(id);
    }
    writeln!(out, "{line}")
}

fn trace_id<S, N>(context: &FmtContext<'_, S, N>) -> Option<String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let span = context.lookup_current()?;
    let otel = dispatcher::get_default(|dispatch| tracing_opentelemetry::get_otel_context(&span.id(), dispatch))?;
    let trace_id = otel.span().span_context().trace_id();
    otel.span().span_context().is_valid().then(|| trace_id.to_string())
}

#[derive(Default)]
struct Fields {
    message: String,
    others: BTreeMap<&'static str, Value>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.others.insert(field.name(), Value::String(format!("{value:?}")));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.others.insert(field.name(), value.into());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.others.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.insert(field.name(), value.into());
    }
}
