//! What the collections are like now, for whoever reads the metrics.

use crate::collection::Collection;
use crate::service::Retriever;
use std::sync::Arc;
use std::time::Instant;
use trivium_service_kit::Service;
use trivium_service_kit::telemetry::metrics::{self, Readings};
use trivium_service_kit::telemetry::names::{attribute as key, metric};

/// Collections that have gauges, the first by name: clients may make many.
const MOST_COLLECTIONS: usize = 100;

/// Lets the gauges of all collections be read for as long as the retriever is there.
pub(crate) fn observe(retriever: &Arc<Retriever>) {
    let retriever = Arc::downgrade(retriever);
    metrics::observe(Service::Retriever, move |readings| {
        let retriever = retriever.upgrade()?;
        retriever.collections().iter().take(MOST_COLLECTIONS).for_each(|collection| tell(collection, readings));
        Some(())
    });
}

fn tell(collection: &Collection, readings: &mut Readings) {
    let label = [(key::COLLECTION, collection.spec().name.as_str())];
    let (waiting, longest) = collection.waiting(Instant::now());
    let published = collection.published();
    // The vectors are in memory all together, or not at all.
    let unindexed = if published.vectors.is_some() { 0 } else { published.table.unindexed_rows() };
    for (gauge, value) in [
        (&metric::TRIVIUM_RETRIEVER_SNAPSHOT_LAG, longest.as_secs_f64()),
        (&metric::TRIVIUM_RETRIEVER_WRITE_QUEUE_REQUESTS, waiting as f64),
        (&metric::TRIVIUM_RETRIEVER_CHUNKS, published.chunks as f64),
        (&metric::TRIVIUM_RETRIEVER_UNINDEXED_ROWS, unindexed as f64),
        (&metric::TRIVIUM_RETRIEVER_FRAGMENTS, published.table.fragments() as f64),
    ] {
        readings.tell(gauge, value, &label);
    }
}
