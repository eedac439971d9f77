//! Giving a collection the vectors of another encoder, beside everything else.
//!
//! A successor with the same documents grows in the background. While it is far behind, documents are copied to it in
//! rounds; once it is close, writes wait for the last round, and it takes the collection's place.

use super::background::{Pauses, stands_still};
use super::{Limits, Retriever, check_dimension, check_encoder, collection_error};
use crate::collection::{Catalog, Change, Collection, Difference, EmbedderRef, Succession};
use crate::embedder::Embedder;
use crate::ingest::{Ingest, write_error};
use crate::stored::{StoredDocument, read_documents};
use std::sync::Arc;
use trivium_service_kit::telemetry::count;
use trivium_service_kit::{Deadline, Error};

/// Documents that are copied at once, and for which writes may be made to wait.
const DOCUMENTS_PER_WRITE: usize = 32;
/// Rounds after which writes are made to wait however much is left: documents may come as fast as they are copied.
const MOST_ROUNDS: usize = 20;

impl Retriever {
    /// Begins to give a collection the vectors of another encoder, `None` meaning the one that serves. It goes on in the
    /// background, and after a restart. For the encoder that the collection has, it takes back what was begun.
    ///
    /// # Errors
    /// As [`Retriever::collection`], whatever asking for the encoder gives, and `STORAGE_FAILED`.
    pub async fn reembed_collection(
        &self,
        name: &str,
        embedder: Option<&EmbedderRef>,
        deadline: Deadline,
    ) -> Result<Arc<Collection>, Error> {
        let collection = self.collection("name", name)?;
        let encoder = self.embedder.encoder(embedder, deadline).await?;
        check_dimension(&encoder)?;
        if encoder.model == collection.spec().embedder {
            self.reembeddings.stop(&collection.spec().folder());
            self.catalog.drop_successor(&collection).await.map_err(|error| collection_error(&error))?;
            return Ok(collection);
        }
        let tokens = self.embedder.token_column(&encoder.model, deadline).await?;
        let spec = collection.spec().successor(encoder.model, encoder.dimension).with_tokens(tokens);
        self.catalog.begin_successor(&collection, spec).await.map_err(|error| collection_error(&error))?;
        self.run_reembedding(collection.clone());
        Ok(collection)
    }

    /// Goes on with what the end of a process cut short, for all tenants.
    pub(super) fn resume_reembeddings(&self) {
        let begun = self.catalog.list_all().into_iter().filter(|collection| collection.succession().is_some());
        begun.for_each(|collection| self.run_reembedding(collection));
    }

    fn run_reembedding(&self, collection: Arc<Collection>) {
        let folder = collection.spec().folder();
        let (catalog, embedder, limits) = (self.catalog.clone(), self.embedder.clone(), self.limits.clone());
        self.reembeddings.run(folder, Work { catalog, collection, embedder, limits }.run());
    }
}

/// The re-embedding of one collection.
struct Work {
    catalog: Arc<Catalog>,
    collection: Arc<Collection>,
    embedder: Arc<dyn Embedder>,
    limits: Limits,
}

impl Work {
    async fn run(mut self) {
        let (name, mut pauses) = (self.collection.spec().name.clone(), Pauses::default());
        loop {
            let Err(error) = self.reembed().await else { return self.clear_away().await };
            // Where the last step failed the collection was opened anew, and its successor goes on there.
            if let Some(opened) = self.collection.successor().cloned() {
                self.collection = opened;
            }
            // A collection that was deleted needs no successor any more.
            let Some(succession) = self.collection.succession().filter(|_| !self.collection.is_closed()) else {
                return;
            };
            stands_still(&name, "re-embedding", &error);
            let reason = error.reason();
            self.collection.note_succession(Succession { problem: Some(error), ..(*succession).clone() });
            if !pauses.after(reason).await {
                return;
            }
        }
    }

    async fn reembed(&self) -> Result<(), Error> {
        for _ in 0..MOST_ROUNDS {
            let difference = self.difference().await?;
            if difference.len() <= DOCUMENTS_PER_WRITE {
                break;
            }
            self.copy_what_differs(difference).await?;
        }
        // Dropped when this is over, one way or the other: the writes that waited go to whichever collection there is.
        let _held = self.collection.hold_writes().await;
        self.copy_what_differs(self.difference().await?).await?;
        let successor = self.catalog.succeed(&self.collection).await.map_err(|error| collection_error(&error))?;
        let (spec, published) = (successor.spec(), successor.published());
        tracing::info!(
            collection = spec.name,
            embedder = format!("{}/{}", spec.embedder.name, spec.embedder.version),
            documents = count(published.documents),
            "collection was re-embedded"
        );
        Ok(())
    }

    /// Which documents differ. How many are left is noted as well.
    async fn difference(&self) -> Result<Difference, Error> {
        let next = self.next().await?;
        let difference = self.collection.difference_to(&next);
        self.note(&next, difference.missing.len());
        Ok(difference)
    }

    async fn copy_what_differs(&self, difference: Difference) -> Result<(), Error> {
        let mut left = difference.missing.len();
        for documents in difference.missing.chunks(DOCUMENTS_PER_WRITE) {
            self.copy(documents).await?;
            left -= documents.len();
            self.note(&*self.next().await?, left);
        }
        for documents in difference.surplus.chunks(DOCUMENTS_PER_WRITE) {
            let next = self.next().await?;
            let gone = |document_id: &String| Change::Delete { document_id: document_id.clone() };
            let written = next.write(documents.iter().map(gone).collect()).await;
            written.map_err(|error| write_error(&next, &error))?;
        }
        Ok(())
    }

    /// Copies documents as they are now; those that are gone by now are left out.
    async fn copy(&self, document_ids: &[String]) -> Result<(), Error> {
        let deadline = Deadline::after(self.limits.batch_budget);
        // A purge waits for this guard, so that nothing that it erases is copied after it.
        let guard = self.collection.next().await;
        let collection = guard.clone().ok_or_else(|| taken_back(&self.collection))?;
        let stored = read_documents(&self.collection, &self.collection.locate(document_ids)).await?;
        let documents = stored.into_iter().filter_map(StoredDocument::into_document).collect();
        let encoder = self.embedder.encoder(Some(&collection.spec().embedder), deadline).await?;
        check_encoder(&encoder, collection.spec())?;
        let (embedder, chunking) = (self.embedder.clone(), self.limits.chunking.clone());
        let ingest = Ingest { collection, embedder, encoder, chunking };
        let batch = ingest.prepare(documents, deadline).await?;
        ingest.write(batch, deadline).await.map(drop)
    }

    async fn next(&self) -> Result<Arc<Collection>, Error> {
        self.collection.next().await.clone().ok_or_else(|| taken_back(&self.collection))
    }

    fn note(&self, next: &Collection, documents_left: usize) {
        let (embedder, documents_left) = (next.spec().embedder.clone(), documents_left as u64);
        self.collection.note_succession(Succession { embedder, documents_left, problem: None });
    }

    /// Removes the table that nobody reads any more.
    async fn clear_away(self) {
        let name = self.collection.spec().name.clone();
        if let Err(error) = self.collection.remove_succeeded().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(collection = name, error, "the table of before is removed after the next start");
        }
    }
}

fn taken_back(collection: &Collection) -> Error {
    let name = &collection.spec().name;
    Error::new(trivium_service_kit::Reason::Cancelled, format!("the re-embedding of {name:?} was taken back"))
}
