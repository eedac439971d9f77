//! Gauges that are read when metrics are: what waits, what is in memory, how old it is.
//!
//! Nothing is written when something happens, so that a thing that is gone, or that hangs, shows as it is.

use std::sync::{Mutex, MutexGuard, PoisonError};

use opentelemetry::{KeyValue, metrics::Meter};

use crate::{
    Service,
    telemetry::names::{Metric, metric},
};

/// Series of one metric that one source may give: whatever it has beyond that is left out.
const MOST_SERIES: usize = 400;

/// The gauges that a service has.
fn gauges(service: Service) -> &'static [&'static Metric] {
    match service {
        Service::Retriever => &[
            &metric::TRIVIUM_RETRIEVER_SNAPSHOT_LAG,
            &metric::TRIVIUM_RETRIEVER_WRITE_QUEUE_REQUESTS,
            &metric::TRIVIUM_RETRIEVER_CHUNKS,
            &metric::TRIVIUM_RETRIEVER_UNINDEXED_ROWS,
            &metric::TRIVIUM_RETRIEVER_FRAGMENTS,
        ],
        Service::ModelHost => {
            &[&metric::TRIVIUM_MODEL_INFO, &metric::TRIVIUM_MODEL_QUEUE_TEXTS, &metric::TRIVIUM_MODEL_QUEUE_AGE]
        }
        Service::Router | Service::Cli => &[],
    }
}

type Source = Box<dyn Fn(&mut Readings) -> Option<()> + Send + Sync>;

static SOURCES: [Mutex<Vec<Source>>; Service::ALL.len()] = [const { Mutex::new(Vec::new()) }; Service::ALL.len()];

/// Lets a service's gauges be read from `source` for as long as it gives something: `None` says that what it reads from is
/// gone. A source must not block for long, and reads on behalf of every gauge.
pub fn observe(service: Service, source: impl Fn(&mut Readings) -> Option<()> + Send + Sync + 'static) {
    sources(service).push(Box::new(source));
}

/// What a source tells.
#[derive(Debug)]
pub struct Readings {
    wanted: &'static str,
    told: Vec<(f64, Vec<KeyValue>)>,
}

impl Readings {
    /// The value of one series of a gauge. `labels` must be bounded by the source.
    pub fn tell(&mut self, gauge: &Metric, value: f64, labels: &[(&'static str, &str)]) {
        if gauge.name == self.wanted && self.told.len() < MOST_SERIES {
            let labels = labels.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned()));
            self.told.push((value, labels.collect()));
        }
    }
}

/// Makes the gauges of a service. There must be somebody who reads them: the SDK takes those that nobody does for a mistake.
pub(super) fn install(service: Service, meter: &Meter) {
    for made in gauges(service) {
        let gauge = meter.f64_observable_gauge(made.name).with_unit(made.unit).with_description(made.description);
        gauge
            .with_callback(move |observer| {
                for (value, labels) in read(service, made.name) {
                    observer.observe(value, &labels);
                }
            })
            .build();
    }
}

fn read(service: Service, wanted: &'static str) -> Vec<(f64, Vec<KeyValue>)> {
    let mut readings = Readings { wanted, told: Vec::new() };
    sources(service).retain(|source| source(&mut readings).is_some());
    readings.told
}

fn sources(service: Service) -> MutexGuard<'static, Vec<Source>> {
    // A source that panicked told nothing, and is asked again.
    SOURCES[service as usize].lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_source_is_read_until_what_it_reads_is_gone() {
        let waiting = Arc::new(3_u32);
        let source = Arc::downgrade(&waiting);
        observe(Service::Cli, move |readings| {
            let waiting = source.upgrade()?;
            readings.tell(&metric::TRIVIUM_MODEL_QUEUE_TEXTS, f64::from(*waiting), &[("lane", "query")]);
            Some(())
        });
        let name = metric::TRIVIUM_MODEL_QUEUE_TEXTS.name;
        assert_eq!(read(Service::Cli, name), [(3.0, vec![KeyValue::new("lane", "query")])]);
        assert_eq!(read(Service::Cli, metric::TRIVIUM_MODEL_INFO.name), []);
        drop(waiting);
        assert_eq!(read(Service::Cli, name), []);
        assert!(sources(Service::Cli).is_empty(), "what is gone is not asked again");
    }

    #[test]
    fn no_source_gives_more_series_than_there_is_room_for() {
        let mut readings = Readings { wanted: metric::TRIVIUM_MODEL_INFO.name, told: Vec::new() };
        for number in 0..10_000 {
            readings.tell(&metric::TRIVIUM_MODEL_INFO, 1.0, &[("version", &number.to_string())]);
        }
        assert_eq!(readings.told.len(), MOST_SERIES);
    }
}
