//! What the router writes into its spans, and what it must not.

use std::{cell::RefCell, collections::HashMap, fmt::Debug, sync::Once};

use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};
use trivium_proto::router::v1::QueryOptions;
use trivium_service_kit::Reason;

use crate::{
    fake_model_host::Generation,
    world::{Plan, World},
};

/// A span or an event as it was written.
#[derive(Clone, Debug, Default)]
struct Recorded {
    id: u64,
    name: &'static str,
    parent: Option<&'static str>,
    fields: HashMap<&'static str, String>,
}

impl Visit for Recorded {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

/// The spans and events of one test, in the order in which they were made.
#[derive(Default)]
struct Recorder {
    spans: Vec<Recorded>,
    events: Vec<Recorded>,
}

thread_local! {
    /// Tests run on one thread each, their servers included, so a thread's spans are a test's.
    static RECORDER: RefCell<Recorder> = RefCell::default();
}

/// Hands what is written to the recorder of the thread that writes it.
struct Recording;

/// Makes every test of this binary record. It must come before the first span:
/// whether a place in the code is listened to is decided when it is first
/// reached, and for all threads.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Recording);
        tracing::subscriber::set_global_default(subscriber).expect("nothing else sets it");
    });
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recording {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let parent = context.span(id).and_then(|span| Some(span.parent()?.name()));
        let name = attributes.metadata().name();
        let mut recorded = Recorded { id: id.into_u64(), name, parent, ..Recorded::default() };
        attributes.record(&mut recorded);
        RECORDER.with_borrow_mut(|recorder| recorder.spans.push(recorded));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        RECORDER.with_borrow_mut(|recorder| {
            if let Some(span) = recorder.spans.iter_mut().rfind(|span| span.id == id.into_u64()) {
                values.record(span);
            }
        });
    }

    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut recorded = Recorded { name: event.metadata().name(), ..Recorded::default() };
        event.record(&mut recorded);
        RECORDER.with_borrow_mut(|recorder| recorder.events.push(recorded));
    }
}

impl Recorder {
    /// The fields of the one span of that name.
    fn fields(&self, name: &str) -> HashMap<&'static str, String> {
        let named: Vec<_> = self.spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(named.len(), 1, "{name}: {named:?}");
        named[0].fields.clone()
    }

    /// Whether a text stands in any field of any span or event.
    fn tells(&self, text: &str) -> bool {
        let mut fields = self.spans.iter().chain(&self.events).flat_map(|recorded| recorded.fields.values());
        fields.any(|value| value.contains(text))
    }
}

/// Runs one query in this world, and gives what was written meanwhile.
async fn record(plan: Plan) -> Recorder {
    let world = World::start(plan).await;
    // What the start wrote is left out.
    RECORDER.take();
    let _ = world.query(QueryOptions::default()).await;
    RECORDER.take()
}

#[tokio::test]
async fn the_querys_span_tells_the_decision() {
    let fields = record(Plan::default()).await.fields("query");
    let expected = [
        ("openinference.span.kind", "CHAIN"),
        ("trivium.route.name", "hybrid"),
        ("trivium.route.reason", "intent"),
        ("trivium.route.threshold", "0.5"),
        ("trivium.intent.label", "how_to"),
        ("trivium.intent.confidence", "0.9"),
        ("trivium.intent.model.name", "intents"),
        ("trivium.intent.model.version", "1"),
        ("trivium.degraded", "false"),
    ];
    for (name, value) in expected {
        assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!fields.contains_key("error.type"));
}

#[tokio::test]
async fn every_call_below_is_a_child_of_the_query() {
    let recorder = record(Plan::default()).await;
    let mut calls: Vec<_> = recorder
        .spans
        .iter()
        .filter(|span| span.name == "grpc.client" && span.parent == Some("query"))
        .map(|span| span.fields["rpc.method"].clone())
        .collect();
    calls.sort();
    let expected = [
        "trivium.model.v1.ModelService/Analyze",
        "trivium.model.v1.ModelService/Generate",
        "trivium.retriever.v1.RetrieverService/Search",
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn a_degraded_answer_is_marked_and_a_failed_one_too() {
    let degraded = record(Plan::of_generation(Generation::Fails(Reason::GeneratorFailed))).await.fields("query");
    assert_eq!(
        (&*degraded["trivium.degraded"], &*degraded["trivium.degraded.generator"]),
        ("true", "GENERATOR_FAILED")
    );
    assert!(!degraded.contains_key("error.type"));
    let failed = record(Plan::of_generation(Generation::Fails(Reason::GeneratorNotFound))).await.fields("query");
    assert_eq!((failed["otel.status_code"].as_str(), failed["error.type"].as_str()), ("ERROR", "GENERATOR_NOT_FOUND"));
}

#[tokio::test]
async fn no_text_of_query_passage_or_answer_is_written() {
    let recorder = record(Plan::of_generation(Generation::BreaksOff("It is ", Reason::GeneratorFailed))).await;
    assert!(recorder.tells("how_to"), "the recorder hears what is written");
    for text in ["where is it", "It is"] {
        assert!(!recorder.tells(text), "{text:?} was written");
    }
}
