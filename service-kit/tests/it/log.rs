//! What the kit logs on the test's own thread, on which tests of the default flavour do all of their work.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

/// The lines that were logged since this began.
pub struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Log {
    /// Listens on this thread until it is dropped.
    pub fn listen() -> Self {
        let lines = Lines::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(lines.clone()));
        Self { lines, _guard: guard }
    }

    /// The lines that have all of these parts, oldest first. A line is its level, its message and its fields.
    pub fn with(&self, parts: &[&str]) -> Vec<String> {
        let lines = self.lines.0.lock().expect("no test panics with it");
        lines.iter().filter(|line| parts.iter().all(|part| line.contains(part))).cloned().collect()
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Libraries have much to say at their lower levels.
        if *event.metadata().level() <= Level::INFO {
            let mut line = Line(event.metadata().level().to_string());
            event.record(&mut line);
            self.0.lock().expect("no test panics with it").push(line.0);
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0 = match field.name() {
            "message" => format!("{} {value:?}", self.0),
            name => format!("{} {name}={value:?}", self.0),
        };
    }
}
