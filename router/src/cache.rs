//! Answers that are given again while nothing that they depend on has changed.
//!
//! Before an answer is taken from the cache, the retriever says in which state
//! each collection is and the model host which models serve, in one step side
//! by side: so an answer is never older than an acknowledged write or a
//! promotion. What is saved is the forward pass, the search and the generation.

mod entry;
mod key;
mod options;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, future};
use tokio::time::Instant;
use trivium_proto::{
    model::v1::{AnalyzeRequest, AnalyzeResponse},
    router::v1::{Account, CacheMode, QueryOptions},
};
use trivium_service_kit::{
    Deadline, Error, Reason, Service, Tenant,
    telemetry::{self, metrics},
};

pub use self::options::CacheOptions;
use self::{
    entry::{Collections, Entry, bytes},
    key::Key,
};
use crate::{
    audit::Witness,
    execute::{Engine, Event},
    policy::{Overrides, Policy, open},
    request::Question,
    trace,
};

/// Collections that are asked for their states at most. A query that may search more is not cached.
const MAX_COLLECTIONS: usize = 8;

/// The part of the time that is left which a look-up may take: a service below that hangs must leave enough to do
/// without it.
const LOOKUP_SHARE: u32 = 10;

/// The share of the cache that one answer may take.
const LARGEST_SHARE: u64 = 8;

/// The cache, or nothing where answers are not kept. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Cache(Option<Arc<Kept>>);

#[derive(Debug)]
struct Kept {
    entries: moka::sync::Cache<Key, Arc<Entry>>,
    largest_bytes: usize,
    ignore_white_space: bool,
    language_models: bool,
}

/// What the cache says of a query.
pub(crate) enum Lookup {
    /// Nothing: it is off, or not for this query.
    Off,
    /// It has the answer.
    Hit(Vec<Event>),
    /// It has not, and would keep it.
    Miss(Miss),
}

/// An answer that may be kept once it has been computed.
pub(crate) struct Miss {
    kept: Arc<Kept>,
    exact: Key,
    normalised: Key,
    text: String,
    /// As they were before it was computed.
    collections: Collections,
}

/// A query as the cache sees it.
pub(crate) struct Asked<'a> {
    /// Whose query it is.
    pub tenant: &'a Tenant,
    /// The query.
    pub question: &'a Question,
    /// The caller's options.
    pub options: &'a QueryOptions,
    /// The policy that decides.
    pub policy: &'a Policy,
    /// When nobody waits any more.
    pub deadline: Deadline,
}

impl Cache {
    /// The cache that is configured.
    pub fn new(options: &CacheOptions) -> Self {
        Self(options.enabled.then(|| {
            let weigh = |_: &Key, entry: &Arc<Entry>| u32::try_from(entry.bytes()).unwrap_or(u32::MAX);
            let entries = moka::sync::Cache::builder()
                .max_capacity(options.max_bytes)
                .weigher(weigh)
                .time_to_live(options.ttl())
                .build();
            let largest_bytes = usize::try_from(options.max_bytes / LARGEST_SHARE).unwrap_or(usize::MAX);
            let CacheOptions { ignore_white_space, language_models, .. } = *options;
            Arc::new(Kept { entries, largest_bytes, ignore_white_space, language_models })
        }))
    }

    /// Whether answers are kept.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Looks for the answer to a query. What goes wrong on the way is no error of the query's: it is
    /// computed then.
    pub async fn find(&self, engine: &Engine, asked: Asked<'_>, witness: &Witness) -> Lookup {
        let Some(kept) = &self.0 else { return Lookup::Off };
        let started = Instant::now();
        let Asked { tenant, question, options, policy, deadline } = asked;
        let deadline = Deadline::after(deadline.remaining() / LOOKUP_SHARE);
        if options.cache() == CacheMode::Bypass || options.as_of.is_some() {
            return Lookup::Off;
        }
        let exact = Key::exact(tenant, &question.text, options, policy.version());
        let normalised = Key::normalised(tenant, &question.text, options, policy.version());
        let found = kept.entries.get(&exact).or_else(|| kept.normalised(&normalised, &question.text, policy));
        let ask_models = models(engine, found.as_deref(), deadline);
        let (collections, analysis) = tokio::join!(collections(engine, options, policy, deadline), ask_models);
        let Some(collections) = collections.filter(|now| is_new_enough(now, options)) else { return Lookup::Off };
        let held = found.zip(analysis).filter(|(entry, analysis)| entry.holds(&collections, analysis));
        metrics::of(Service::Router).looked_up("answers", held.is_some());
        match held {
            Some((entry, _)) => Lookup::Hit(hit(&entry, question, started, witness)),
            None => {
                let text = question.text.clone();
                Lookup::Miss(Miss { kept: Arc::clone(kept), exact, normalised, text, collections })
            }
        }
    }
}

impl Kept {
    /// The answer to a query that differs in white space alone, where the policy's guards, which may look at that
    /// as well, say the same of both.
    fn normalised(&self, key: &Key, text: &str, policy: &Policy) -> Option<Arc<Entry>> {
        if !self.ignore_white_space {
            return None;
        }
        let of_guards = |text: &str| open(policy, text, None, &Overrides::default());
        self.entries.get(key).filter(|entry| of_guards(&entry.text) == of_guards(text))
    }
}

/// The states of the collections that a query may search; `None` when they cannot be had.
async fn collections(
    engine: &Engine,
    options: &QueryOptions,
    policy: &Policy,
    deadline: Deadline,
) -> Option<Collections> {
    let names: Vec<&str> = match options.collections.as_slice() {
        [] => policy.collections(),
        named => named.iter().map(String::as_str).collect(),
    };
    if names.len() > MAX_COLLECTIONS {
        return None;
    }
    let asked = future::join_all(names.into_iter().map(|name| engine.retriever().collection(name, deadline))).await;
    let mut collections = Collections::new();
    for answer in asked {
        match answer {
            Ok(collection) => collections.push(collection),
            // A policy may name collections that are not there yet.
            Err(error) if error.reason() == Reason::CollectionNotFound => {}
            Err(error) => {
                tracing::debug!(%error, "the states of the collections are not known: the cache is passed by");
                return None;
            }
        }
    }
    Some(collections)
}

/// What the model host says of a query now; nothing where it need not be asked, `None` where it does not answer.
async fn models(engine: &Engine, entry: Option<&Entry>, deadline: Deadline) -> Option<AnalyzeResponse> {
    let entry = entry?;
    let (intent, vector) = entry.wants();
    if !intent && !vector {
        return Some(AnalyzeResponse::default());
    }
    // The very text of the entry, which the model host remembers.
    let request = AnalyzeRequest { text: entry.text.clone(), intent, vector, ..AnalyzeRequest::default() };
    engine.model_host().analyze(request, deadline).await.ok()
}

/// Whether the collections have reached the versions that the caller asks for. One that has not is waited for by its search.
fn is_new_enough(now: &Collections, options: &QueryOptions) -> bool {
    options.min_versions.iter().all(|(name, least)| {
        let snapshot = now.iter().filter_map(|collection| collection.snapshot.as_ref());
        snapshot.filter(|snapshot| snapshot.collection == *name).all(|snapshot| snapshot.version >= *least)
    })
}

/// The events of a kept answer, under the name and in the trace of the request that is given it.
fn hit(entry: &Entry, question: &Question, started: Instant, witness: &Witness) -> Vec<Event> {
    let span = trace::query(question);
    let _in = span.enter();
    let ms = |since: Instant| since.elapsed().as_secs_f64() * 1_000.0;
    let trace_id = telemetry::current_trace_id();
    witness.traced(&trace_id);
    witness.recalled(entry.intent.as_ref(), &entry.searches);
    let mut events = entry.events.clone();
    if let Some(Event::Account(account)) = events.last_mut() {
        let took = ms(started);
        *account = Account {
            trace_id,
            request_id: question.request_id.clone(),
            timings_ms: [("cache".to_owned(), took), ("total".to_owned(), took)].into(),
            cached: true,
            cached_age_ms: ms(entry.made),
            ..std::mem::take(account)
        };
    }
    let remembered = trace::Remembered {
        made_by: entry.made_by.as_ref(),
        decision: entry.decision(),
        intent: entry.intent.as_ref(),
    };
    trace::cached(&span, &remembered, started.elapsed());
    events
}

impl Miss {
    /// Lets the events of a fresh answer through, and keeps them when they are worth keeping.
    pub fn keep<S>(self, events: S, witness: Arc<Witness>) -> Keeping<S> {
        Keeping { events, seen: Vec::new(), seen_bytes: 0, miss: Some(self), witness }
    }

    fn store(self, events: Vec<Event>, witness: &Witness) {
        let searches = witness.searches();
        let searched = searches.iter().filter_map(|search| Some(search.snapshot.as_ref()?.collection.as_str()));
        let searched: Vec<&str> = searched.collect();
        let mut collections = self.collections;
        collections.retain(|collection| searched.contains(&collection.name.as_str()));
        let intent = witness.intent().cloned();
        let (made, made_by) = (Instant::now(), witness.span().cloned());
        let entry = Entry { text: self.text, events, intent, searches, collections, made, made_by };
        if !entry.may_be_kept(self.kept.language_models) {
            return;
        }
        let entry = Arc::new(entry);
        if entry.is_for_normalised() {
            self.kept.entries.insert(self.normalised, Arc::clone(&entry));
        }
        self.kept.entries.insert(self.exact, entry);
    }
}

/// The events of a fresh answer, which are kept once the last has gone by.
pub(crate) struct Keeping<S> {
    events: S,
    seen: Vec<Event>,
    seen_bytes: usize,
    /// Taken when the answer turns out not to be kept.
    miss: Option<Miss>,
    witness: Arc<Witness>,
}

impl<S> Keeping<S> {
    fn see(&mut self, item: &Result<Event, Error>) {
        let Some(miss) = &self.miss else { return };
        let Ok(event) = item else {
            self.miss = None;
            return;
        };
        self.seen_bytes += bytes(event);
        if self.seen_bytes > miss.kept.largest_bytes {
            self.miss = None;
            self.seen.clear();
            return;
        }
        self.seen.push(event.clone());
        let is_last = matches!(event, Event::Account(_));
        if let Some(miss) = self.miss.take_if(|_| is_last) {
            miss.store(std::mem::take(&mut self.seen), &self.witness);
        }
    }
}

impl<S: Stream<Item = Result<Event, Error>> + Unpin> Stream for Keeping<S> {
    type Item = Result<Event, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.events).poll_next(context);
        if let Poll::Ready(Some(item)) = &next {
            self.see(item);
        }
        next
    }
}
