//! Adding token vectors to collections from before, beside everything else.

use super::background::{Pauses, stands_still};
use super::{Limits, Retriever};
use crate::collection::{Collection, TokenUpgrade};
use crate::embedder::Embedder;
use crate::ingest::{Ingest, write_error};
use std::sync::Arc;
use trivium_service_kit::{Deadline, Error, Reason};

/// Documents of one write.
const DOCUMENTS_PER_WRITE: usize = 32;

impl Retriever {
    /// Begins to add token vectors to the documents of a collection that have none. It goes on in the background, and
    /// after a restart; where one is under way already, it goes on from where that one was.
    ///
    /// # Errors
    /// As [`Retriever::collection`], `NO_MODEL` when no projection serves for the collection's encoder, whatever asking
    /// for it gives, and `STORAGE_FAILED`.
    pub async fn upgrade_collection(&self, name: &str, deadline: Deadline) -> Result<Arc<Collection>, Error> {
        let collection = self.collection("name", name)?;
        begin(&collection, self.embedder.as_ref(), deadline).await?;
        self.run_upgrade(collection.clone());
        Ok(collection)
    }

    /// Goes on with the upgrades of all tenants that the end of a process cut short.
    pub(super) fn resume_upgrades(&self) {
        let begun = self.catalog.list_all().into_iter().filter(|collection| collection.token_upgrade().is_some());
        begun.for_each(|collection| self.run_upgrade(collection));
    }

    fn run_upgrade(&self, collection: Arc<Collection>) {
        let folder = collection.spec().folder();
        let work = Work { collection, embedder: self.embedder.clone(), limits: self.limits.clone() };
        self.upgrades.run(folder, work.run());
    }
}

/// The upgrade of one collection.
struct Work {
    collection: Arc<Collection>,
    embedder: Arc<dyn Embedder>,
    limits: Limits,
}

impl Work {
    async fn run(self) {
        let (name, mut pauses) = (self.collection.spec().name.clone(), Pauses::default());
        loop {
            let Err(error) = self.fill().await else {
                tracing::info!(collection = name, "every document has token vectors");
                return;
            };
            if self.collection.is_closed() {
                return;
            }
            let documents_left = self.collection.token_upgrade().map_or(0, |upgrade| upgrade.documents_left);
            let reason = error.reason();
            stands_still(&name, "adding token vectors", &error);
            self.collection.note_token_upgrade(TokenUpgrade { documents_left, problem: Some(error) });
            if !pauses.after(reason).await {
                return;
            }
        }
    }

    /// Gives all documents their token vectors. Documents that come with vectors of their own have none either, and may
    /// come at any time, so it looks again until there are none.
    async fn fill(&self) -> Result<(), Error> {
        let collection = &self.collection;
        if collection.published().table.layout().tokens.is_none() {
            // The process ended before the table had the column.
            begin(collection, self.embedder.as_ref(), Deadline::after(self.limits.batch_budget)).await?;
        }
        loop {
            let published = collection.published();
            let without = published.table.documents_without_tokens().await;
            let without = without.map_err(|error| crate::search::read_error(collection, &error.into()))?;
            if without.is_empty() {
                let ended = collection.end_token_upgrade().await;
                return ended.map_err(|error| write_error(collection, &error));
            }
            drop(published);
            let mut left = without.len();
            for documents in without.chunks(DOCUMENTS_PER_WRITE) {
                collection.note_token_upgrade(TokenUpgrade { documents_left: left as u64, problem: None });
                let deadline = Deadline::after(self.limits.batch_budget);
                self.ingest(deadline).await?.renew(documents, deadline).await?;
                left -= documents.len();
            }
        }
    }

    async fn ingest(&self, deadline: Deadline) -> Result<Ingest, Error> {
        let encoder = self.embedder.encoder(Some(&self.collection.spec().embedder), deadline).await?;
        Ok(Ingest {
            collection: self.collection.clone(),
            embedder: self.embedder.clone(),
            encoder,
            chunking: self.limits.chunking.clone(),
        })
    }
}

/// Gives a collection the column of token vectors: its own, or that of the projection that serves for its encoder.
async fn begin(collection: &Collection, embedder: &dyn Embedder, deadline: Deadline) -> Result<(), Error> {
    let own = collection.published().table.layout().tokens.clone();
    let encoder = &collection.spec().embedder;
    let column = match own {
        Some(own) => Some(own),
        None => embedder.token_column(encoder, deadline).await?,
    };
    let column = column.ok_or_else(|| {
        let words = format!("no projection serves for {}; `trivium models project` fits one", encoder.name);
        Error::new(Reason::NoModel, words)
    })?;
    collection.begin_token_upgrade(column).await.map_err(|error| write_error(collection, &error))
}
