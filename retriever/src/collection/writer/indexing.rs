//! The index of a collection whose vectors are not in memory: when it is built, and how it becomes a part of the table.
//!
//! It is built beside the writer, on a version that stays as it is. The writer only names it, between two commits, so that
//! no write waits for training, and no search for anything.

use super::super::CollectionError;
use super::super::derive::LexicalChange;
use super::{COMMITS_AFTER_FAILED_UPKEEP, Writer};
use crate::failpoint::Failpoint;
use crate::vector::{BuiltIndex, IndexBuild, VectorError};
use std::time::Instant;
use tracing::Instrument;
use trivium_service_kit::telemetry::{count, names::attribute as key};

/// The index that is being built, if any.
#[derive(Debug)]
pub(super) struct Indexing {
    /// Rows that may be in no index.
    tail_rows: u64,
    build: Option<Build>,
    /// Commits until the next may be begun, after one that failed.
    pause: u32,
}

#[derive(Debug)]
struct Build {
    build: IndexBuild,
    span: tracing::Span,
}

impl Indexing {
    pub(super) fn new(tail_rows: u64) -> Self {
        Self { tail_rows, build: None, pause: 0 }
    }

    /// Waits for the index that is being built; for ever when none is. May be dropped and called again.
    pub(super) async fn ended(&mut self) -> Option<Result<BuiltIndex, VectorError>> {
        match &mut self.build {
            Some(build) => build.build.ended().await,
            None => std::future::pending().await,
        }
    }

    /// The newest fragment that has to stay until the index is committed.
    pub(super) fn kept_fragments(&self) -> Option<u64> {
        self.build.as_ref().map(|build| build.build.newest_fragment())
    }
}

impl Writer {
    /// Ends what is being built, and waits until it writes no more.
    pub(in crate::collection) async fn stop_indexing(&mut self) {
        if let Some(Build { build, .. }) = self.indexing.build.take() {
            build.cancel().await;
        }
    }

    /// Begins to build or to extend the index, where that is due.
    pub(super) fn index_if_due(&mut self) {
        // After a failure the next write recovers first.
        if self.index.is_none() || self.indexing.build.is_some() || self.shared.published().vectors.is_some() {
            return;
        }
        if self.indexing.pause > 0 {
            self.indexing.pause -= 1;
            return;
        }
        if let Some(work) = self.table.index_work(self.indexing.tail_rows) {
            let span = tracing::info_span!(
                parent: None,
                "index vectors",
                collection = self.collection,
                { key::OPENINFERENCE_SPAN_KIND } = "CHAIN"
            );
            let build = span.in_scope(|| self.table.begin_index(work));
            self.indexing.build = Some(Build { build, span });
        }
    }

    /// Makes the index that was built a part of the table, and goes on with what became due meanwhile.
    pub(super) async fn index_ended(&mut self, outcome: Option<Result<BuiltIndex, VectorError>>) {
        let Some(Build { span, .. }) = self.indexing.build.take() else { return };
        // Without an outcome the process is about to end.
        let Some(outcome) = outcome else { return };
        let added = match outcome {
            Ok(built) => self.add_index(built).instrument(span).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = added {
            let error: &dyn std::error::Error = &error;
            tracing::error!(collection = self.collection, error, "the index of vectors could not be built");
            self.indexing.pause = COMMITS_AFTER_FAILED_UPKEEP;
        }
        self.index_if_due();
    }

    async fn add_index(&mut self, built: BuiltIndex) -> Result<(), CollectionError> {
        if self.index.is_none() {
            self.recover().await?;
        }
        let (rows, elapsed) = (built.rows, built.elapsed);
        Failpoint::InVectorIndexing.reach();
        let started = Instant::now();
        let outcome = self.name_index(built).await;
        if outcome.is_err() {
            // The version may have been made all the same: the next write reads everything anew.
            self.index = None;
        }
        outcome?;
        let elapsed = elapsed + started.elapsed();
        tracing::info!(
            collection = self.collection,
            rows,
            unindexed_rows = self.table.unindexed_rows(),
            segments = count(self.table.index_segments()),
            seconds = elapsed.as_secs_f64(),
            "vectors were indexed"
        );
        Ok(())
    }

    async fn name_index(&mut self, built: BuiltIndex) -> Result<(), CollectionError> {
        self.table = self.table.commit_index(built).await?;
        Failpoint::AfterVectorIndexing.reach();
        // Both legs hold the rows that they held.
        let vectors = self.shared.published().vectors.clone();
        self.index_and_publish(LexicalChange::default(), vectors, |_| ()).await.map(drop)
    }
}
