//! A second version of the intent model that sees a share of the queries, after they were
//! answered, and is compared with the one that serves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tracing::Span;
use trivium_service_kit::telemetry::capture_content;

use super::load::IntentRuntime;
use crate::batch::{Caller, Lane};
use crate::bundle::ModelRef;
use crate::runtime::Call;

/// Queries that wait for the shadow at the same time; it skips the rest.
const MOST_AT_ONCE: usize = 32;
/// How long the shadow may take for a query. It runs behind everything else.
const PATIENCE: Duration = Duration::from_secs(30);
/// Different pairs of labels that are counted apart.
const MOST_PAIRS: usize = 1024;
/// Queries that are kept of one pair, if content may be kept at all.
const MOST_EXAMPLES: usize = 5;
/// The longest part of a query that is kept, in code points.
const EXAMPLE_CHARS: usize = 200;

/// A second version, and what it found.
pub struct Shadow {
    intent: Arc<IntentRuntime>,
    serving: ModelRef,
    share: f64,
    offered: AtomicU64,
    places: Arc<Semaphore>,
    tally: Mutex<Tally>,
}

/// What a shadow found.
#[derive(Clone, Debug, PartialEq)]
pub struct ShadowReport {
    /// The version that served.
    pub serving: ModelRef,
    /// The shadow.
    pub shadow: ModelRef,
    /// Share of the queries that it is to see.
    pub share: f64,
    /// The counts.
    pub tally: Tally,
}

/// How often two versions agreed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Queries on which both gave the same label.
    pub agreements: u64,
    /// Queries on which they gave different ones.
    pub disagreements: u64,
    /// Queries that the shadow should have seen and did not.
    pub skipped: u64,
    /// Disagreements by label of the serving version and of the shadow. Bounded: of a pair
    /// that comes when there is no more room, only the total knows.
    pub pairs: BTreeMap<(String, String), Pair>,
}

/// One kind of disagreement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pair {
    /// How often.
    pub count: u64,
    /// Some of the queries; none unless content may be kept.
    pub examples: Vec<String>,
}

impl Tally {
    /// Counts one query. `example` is its text, if it may be kept.
    pub fn count(&mut self, serving: &str, shadow: &str, example: Option<&str>) {
        if serving == shadow {
            self.agreements += 1;
            return;
        }
        self.disagreements += 1;
        let key = (serving.to_owned(), shadow.to_owned());
        if self.pairs.len() >= MOST_PAIRS && !self.pairs.contains_key(&key) {
            return;
        }
        let pair = self.pairs.entry(key).or_default();
        pair.count += 1;
        if let (Some(text), true) = (example, pair.examples.len() < MOST_EXAMPLES) {
            pair.examples.push(text.chars().take(EXAMPLE_CHARS).collect());
        }
    }
}

impl Shadow {
    /// A shadow of `serving` that sees `share` of the queries, above 0 and at most 1.
    pub(super) fn new(intent: Arc<IntentRuntime>, serving: ModelRef, share: f64) -> Self {
        let places = Arc::new(Semaphore::new(MOST_AT_ONCE));
        Self { intent, serving, share, offered: AtomicU64::new(0), places, tally: Mutex::new(Tally::default()) }
    }

    /// The same shadow beside another version, counting from zero.
    pub(super) fn against(&self, serving: ModelRef) -> Self {
        Self::new(Arc::clone(&self.intent), serving, self.share)
    }

    /// The version.
    pub fn model(&self) -> &ModelRef {
        self.intent.model.model()
    }

    /// The version that it is compared with.
    pub fn serving(&self) -> &ModelRef {
        &self.serving
    }

    /// What it found.
    pub fn report(&self) -> ShadowReport {
        let (serving, shadow) = (self.serving.clone(), self.model().clone());
        ShadowReport { serving, shadow, share: self.share, tally: self.tally().clone() }
    }

    /// Offers a query that was answered with `label` by `model`. If it is in the shadow's
    /// share, the shadow decides on it later, in the bulk lane; this returns at once.
    pub fn offer(self: &Arc<Self>, text: &str, label: &str, model: &ModelRef) {
        if *model != self.serving || !in_share(self.offered.fetch_add(1, Ordering::Relaxed), self.share) {
            return;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.tally().skipped += 1;
            return;
        };
        let (shadow, text, label) = (Arc::clone(self), text.to_owned(), label.to_owned());
        tokio::spawn(async move {
            shadow.compare(&text, &label).await;
            drop(place);
        });
    }

    async fn compare(&self, text: &str, label: &str) {
        let span = Span::none();
        let deadline = Some(Instant::now() + PATIENCE);
        let caller = Caller::default();
        let call = Call { lane: Lane::Bulk, deadline, caller, may_widen: true, projection: None, parent: &span };
        let embedded = self.intent.encoder.embed_call(&[text], call).await;
        let vector = embedded.ok().and_then(|embedded| embedded.texts.into_iter().next());
        let Some(vector) = vector else {
            self.tally().skipped += 1;
            return;
        };
        let decision = self.intent.model.decide(&vector.vector);
        self.tally().count(label, decision.label(), capture_content().then_some(text));
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // Counting cannot panic halfway.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the query number `index`, from 0, belongs to the share: of the first n queries
/// the share has n times itself, rounded down, spread evenly.
fn in_share(index: u64, share: f64) -> bool {
    let upto = |count: u64| (count as f64 * share).floor();
    upto(index + 1) > upto(index)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_bounded_and_totals_are_not() {
        let mut tally = Tally::default();
        for index in 0..2 * MOST_PAIRS {
            tally.count("a", &format!("b{index}"), None);
        }
        tally.count("a", "a", None);
        assert_eq!((tally.agreements, tally.disagreements), (1, 2 * MOST_PAIRS as u64));
        assert_eq!(tally.pairs.len(), MOST_PAIRS);
    }

    #[test]
    fn examples_are_kept_only_when_they_may_be() {
        let mut tally = Tally::default();
        tally.count("a", "b", None);
        for index in 0..20 {
            tally.count("a", "b", Some(&format!("{index}{}", "x".repeat(1000))));
        }
        let pair = &tally.pairs[&("a".to_owned(), "b".to_owned())];
        assert_eq!((pair.count, pair.examples.len()), (21, MOST_EXAMPLES));
        assert!(pair.examples.iter().all(|text| text.len() == EXAMPLE_CHARS));
    }

    proptest! {
        #[test]
        fn the_share_is_met_at_every_length(share in 0.001f64..=1.0, count in 1u64..2000) {
            let seen = (0..count).filter(|&index| in_share(index, share)).count();
            prop_assert_eq!(seen as f64, (count as f64 * share).floor());
        }
    }
}
