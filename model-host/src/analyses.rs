//! Analyses of queries that came lately, so that one that comes again costs nothing.

use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use trivium_proto::model::v1::AnalyzeResponse;
use trivium_service_kit::Tenant;

use crate::bundle::ModelRef;

/// The longest text that is remembered, in bytes: longer ones rarely come twice.
const LONGEST_TEXT_BYTES: usize = 1024;

/// What an analysis depends on. A version is never overwritten, so that an entry is right
/// for as long as it is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnalysisKey {
    /// Whose query it is: that another tenant has asked the same is nobody's business, and could be told by the time that
    /// an answer takes.
    pub tenant: Tenant,
    /// The query.
    pub text: String,
    /// The intent model, if the intent was asked for.
    pub intent: Option<ModelRef>,
    /// The encoder, if the vector was asked for.
    pub encoder: Option<ModelRef>,
    /// The projection, if token vectors were asked for.
    pub projection: Option<ModelRef>,
}

/// A bounded number of analyses, the least recently used of which goes first.
pub struct Analyses {
    entries: Option<Mutex<LruCache<AnalysisKey, AnalyzeResponse>>>,
}

impl Analyses {
    /// Remembers up to `entries` analyses; none at 0.
    pub fn new(entries: usize) -> Self {
        Self { entries: NonZero::new(entries).map(|entries| Mutex::new(LruCache::new(entries))) }
    }

    /// The analysis of that key, if it is remembered.
    pub fn find(&self, key: &AnalysisKey) -> Option<AnalyzeResponse> {
        self.locked()?.get(key).cloned()
    }

    /// Remembers an analysis.
    pub fn keep(&self, key: AnalysisKey, analysis: AnalyzeResponse) {
        if key.text.len() > LONGEST_TEXT_BYTES {
            return;
        }
        if let Some(mut entries) = self.locked() {
            entries.put(key, analysis);
        }
    }

    /// Forgets everything: after a promotion most entries could never be found again.
    pub fn clear(&self) {
        if let Some(mut entries) = self.locked() {
            entries.clear();
        }
    }

    fn locked(&self) -> Option<MutexGuard<'_, LruCache<AnalysisKey, AnalyzeResponse>>> {
        // The cache is whole between calls, whatever a caller does meanwhile.
        self.entries.as_ref().map(|entries| entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str, version: &str) -> AnalysisKey {
        AnalysisKey {
            tenant: Tenant::default(),
            text: text.to_owned(),
            intent: ModelRef::new("intents", version).ok(),
            encoder: None,
            projection: None,
        }
    }

    fn analysis(tokens: u32) -> AnalyzeResponse {
        AnalyzeResponse { tokens, ..AnalyzeResponse::default() }
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let analyses = Analyses::new(2);
        analyses.keep(key("a", "1"), analysis(1));
        analyses.keep(key("b", "1"), analysis(2));
        assert_eq!(analyses.find(&key("a", "1")), Some(analysis(1)));
        analyses.keep(key("c", "1"), analysis(3));
        assert_eq!(analyses.find(&key("b", "1")), None);
        assert_eq!(analyses.find(&key("a", "1")), Some(analysis(1)));
        analyses.clear();
        assert_eq!(analyses.find(&key("a", "1")), None);
    }

    #[test]
    fn another_version_or_another_wish_is_another_analysis() {
        let analyses = Analyses::new(8);
        analyses.keep(key("a", "1"), analysis(1));
        let of_other = AnalysisKey { tenant: Tenant::named("other").expect("a name"), ..key("a", "1") };
        assert_eq!(analyses.find(&of_other), None);
        assert_eq!(analyses.find(&key("a", "2")), None);
        let with_vector = AnalysisKey { encoder: ModelRef::new("minilm", "1").ok(), ..key("a", "1") };
        assert_eq!(analyses.find(&with_vector), None);
    }

    #[test]
    fn long_texts_and_no_entries_are_not_remembered() {
        let long = "x".repeat(LONGEST_TEXT_BYTES + 1);
        let analyses = Analyses::new(8);
        analyses.keep(key(&long, "1"), analysis(1));
        assert_eq!(analyses.find(&key(&long, "1")), None);
        let off = Analyses::new(0);
        off.keep(key("a", "1"), analysis(1));
        assert_eq!(off.find(&key("a", "1")), None);
    }
}
