//! What the retriever does, apart from how it is called.

mod background;
mod blend;
mod reembed;
mod rerank;
mod snapshots;
mod upgrade;

use crate::chunk::ChunkOptions;
use crate::collection::{
    Catalog, Change, CheckReport, Collection, CollectionError, CollectionSpec, EmbedderRef, Published, Purged,
    WriteError, Written, check_name,
};
use crate::document::check_id;
use crate::embedder::{Embedder, Encoder};
use crate::ingest::{Ingest, write_error};
use crate::metadata::{self, MetadataField};
use crate::search::{self, Depth, Found, SearchQuery};
use crate::stored::{StoredDocument, read_documents};
use std::sync::Arc;
use std::time::Duration;
use trivium_service_kit::{Deadline, Error, Reason, Tenant};

pub(crate) use snapshots::as_of_error;
pub use snapshots::checked_tag;

/// Longest vectors that a collection takes.
const MAX_DIMENSION: usize = 65_536;

/// Limits that the configuration sets.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest text of a document, in bytes.
    pub document_bytes: usize,
    /// Time for one batch of documents, on a stream that has no deadline.
    pub batch_budget: Duration,
    /// How documents are cut, apart from the encoder's own limit.
    pub chunking: ChunkOptions,
    /// How deep the legs of a search look.
    pub depth: Depth,
}

/// The collections of one tenant, and an encoder to fill and to search them with. Cheap to clone.
#[derive(Clone)]
pub struct Retriever {
    catalog: Arc<Catalog>,
    tenant: Tenant,
    embedder: Arc<dyn Embedder>,
    limits: Limits,
    upgrades: Arc<background::Tasks>,
    reembeddings: Arc<background::Tasks>,
}

/// What a request to make a collection asks for.
#[derive(Debug, Clone)]
pub struct NewCollection {
    /// Its name.
    pub name: String,
    /// Its encoder; `None` for the one that serves. An empty version means the version that serves.
    pub embedder: Option<EmbedderRef>,
    /// Its declared metadata fields.
    pub metadata_fields: Vec<MetadataField>,
    /// Whether an existing collection that fits is welcome.
    pub if_absent: bool,
}

/// Documents that were asked for.
#[derive(Debug)]
pub struct Documents {
    /// Those that are there, in the order of the request.
    pub found: Vec<StoredDocument>,
    /// The ids that are not there.
    pub missing: Vec<String>,
    /// The state that was read.
    pub published: Arc<Published>,
}

impl Retriever {
    /// Serves the collections of a catalog that belong to no named tenant.
    pub fn new(catalog: Catalog, embedder: Arc<dyn Embedder>, limits: Limits) -> Self {
        Self {
            catalog: Arc::new(catalog),
            tenant: Tenant::default(),
            embedder,
            limits,
            upgrades: Arc::default(),
            reembeddings: Arc::default(),
        }
    }

    /// Serves those of a tenant. Whatever it is asked, it knows no others.
    #[must_use]
    pub fn of(&self, tenant: Tenant) -> Self {
        Self { tenant, ..self.clone() }
    }

    /// Limits that the configuration set.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Makes an empty collection, or gives the existing one where that is welcome and fits.
    ///
    /// # Errors
    /// `FIELD_INVALID` for a bad name or field, `COLLECTION_EXISTS`, whatever asking for the encoder gives, and
    /// `STORAGE_FAILED`.
    pub async fn create_collection(&self, wanted: NewCollection, deadline: Deadline) -> Result<Arc<Collection>, Error> {
        checked_name("name", &wanted.name)?;
        metadata::check_fields(&wanted.metadata_fields)
            .map_err(|error| invalid("metadata_fields", &error.to_string()))?;
        if let Ok(existing) = self.catalog.get_of(self.tenant.name(), &wanted.name) {
            return match wanted.if_absent && fits(existing.spec(), &wanted) {
                true => Ok(existing),
                false => Err(exists(&wanted.name)),
            };
        }
        let encoder = self.embedder.encoder(wanted.embedder.as_ref(), deadline).await?;
        check_dimension(&encoder)?;
        let tokens = self.embedder.token_column(&encoder.model, deadline).await?;
        let spec = CollectionSpec::new(&wanted.name, encoder.model, encoder.dimension, wanted.metadata_fields);
        let spec = spec.with_tokens(tokens).of_tenant(self.tenant.name());
        self.catalog.create(spec, wanted.if_absent).await.map_err(|error| collection_error(&error))
    }

    /// The collection of that name, which `field` of the request gave.
    ///
    /// # Errors
    /// `FIELD_INVALID` for what cannot be a name, `COLLECTION_NOT_FOUND`.
    pub fn collection(&self, field: &str, name: &str) -> Result<Arc<Collection>, Error> {
        checked_name(field, name)?;
        self.catalog.get_of(self.tenant.name(), name).map_err(|error| collection_error(&error).with_field(field))
    }

    /// All collections, by name.
    pub fn collections(&self) -> Vec<Arc<Collection>> {
        self.catalog.list_of(self.tenant.name())
    }

    /// Removes a collection and its files.
    ///
    /// # Errors
    /// As [`Retriever::collection`], and `STORAGE_FAILED`.
    pub async fn delete_collection(&self, name: &str) -> Result<(), Error> {
        checked_name("name", name)?;
        if let Ok(collection) = self.catalog.get_of(self.tenant.name(), name) {
            let folder = collection.spec().folder();
            self.upgrades.stop(&folder);
            self.reembeddings.stop(&folder);
        }
        self.catalog.delete_of(self.tenant.name(), name).await.map_err(|error| collection_error(&error))
    }

    /// Gets ready to take documents into a collection.
    ///
    /// # Errors
    /// As [`Retriever::collection`], and whatever asking for the collection's encoder gives.
    pub async fn ingest(&self, name: &str, deadline: Deadline) -> Result<Ingest, Error> {
        let collection = self.collection("collection", name)?;
        let encoder = self.embedder.encoder(Some(&collection.spec().embedder), deadline).await?;
        check_encoder(&encoder, collection.spec())?;
        Ok(Ingest { collection, embedder: self.embedder.clone(), encoder, chunking: self.limits.chunking.clone() })
    }

    /// Removes documents. An id that is not there is no error.
    ///
    /// # Errors
    /// As [`Retriever::collection`], `FIELD_INVALID` for a bad id, `STORAGE_FAILED`.
    pub async fn delete_documents(
        &self,
        name: &str,
        document_ids: Vec<String>,
    ) -> Result<(Arc<Published>, u32), Error> {
        let mut collection = self.collection("collection", name)?;
        check_ids(&document_ids)?;
        let changes: Vec<Change> = document_ids.into_iter().map(|document_id| Change::Delete { document_id }).collect();
        loop {
            match collection.write(changes.clone()).await {
                Ok(Written::Published { published, tally }) => return Ok((published, tally.deleted)),
                Ok(Written::Stale { .. }) => {
                    return Err(Error::new(Reason::Internal, "a deletion came back as out of date"));
                }
                Err(WriteError::Succeeded(successor)) => collection = successor,
                Err(error) => return Err(write_error(&collection, &error)),
            }
        }
    }

    /// Erases documents physically, from every state of the collection. An id that is not there now is no error.
    ///
    /// # Errors
    /// As [`Retriever::delete_documents`].
    pub async fn purge_documents(&self, name: &str, document_ids: Vec<String>) -> Result<Purged, Error> {
        let mut collection = self.collection("collection", name)?;
        check_ids(&document_ids)?;
        // A task of its own, which is finished even when the caller leaves.
        let purge = tokio::spawn(async move {
            loop {
                match collection.purge(document_ids.clone()).await {
                    Err(WriteError::Succeeded(successor)) => collection = successor,
                    outcome => return outcome.map_err(|error| write_error(&collection, &error)),
                }
            }
        });
        purge.await.map_err(|error| Error::new(Reason::Internal, format!("the purge was cut short: {error}")))?
    }

    /// Gives documents back as they were handed in.
    ///
    /// # Errors
    /// As [`Retriever::collection`], `FIELD_INVALID` for a bad id, `COLLECTION_DAMAGED`.
    pub async fn get_documents(&self, name: &str, document_ids: &[String]) -> Result<Documents, Error> {
        let collection = self.collection("collection", name)?;
        check_ids(document_ids)?;
        let located = collection.locate(document_ids);
        let found = read_documents(&collection, &located).await?;
        let absent = document_ids.iter().zip(&located.entries).filter(|(_, entry)| entry.is_none());
        let missing = absent.map(|(id, _)| id.clone()).collect();
        Ok(Documents { found, missing, published: located.published })
    }

    /// Compares every row of a collection with everything that was derived from it.
    ///
    /// # Errors
    /// As [`Retriever::collection`], `COLLECTION_DAMAGED` when the files cannot be read at all.
    pub async fn check_collection(&self, name: &str) -> Result<CheckReport, Error> {
        let collection = self.collection("name", name)?;
        collection.check().await.map_err(|error| search::read_error(&collection, &error))
    }

    /// Searches a collection.
    ///
    /// # Errors
    /// As [`search::search`].
    pub async fn search(
        &self,
        collection: &Collection,
        query: SearchQuery,
        deadline: Deadline,
    ) -> Result<Found, Error> {
        search::search(collection, self.embedder.as_ref(), query, self.limits.depth, deadline).await
    }

    /// Goes on with what the retriever does on collections by itself, and what the end of a process cut short.
    pub fn resume(&self) {
        self.resume_upgrades();
        self.resume_reembeddings();
    }

    /// Finishes the writes that wait, of all tenants, and takes no more.
    pub async fn close(&self) {
        self.upgrades.stop_all();
        self.reembeddings.stop_all();
        self.catalog.close().await;
    }
}

/// What goes wrong with collections, as clients see it. The cause goes to the log, for it names files.
fn collection_error(error: &CollectionError) -> Error {
    match error {
        CollectionError::NotFound { .. } => Error::new(Reason::CollectionNotFound, error.to_string()),
        CollectionError::Exists { name } => exists(name),
        other => {
            tracing::error!(error = other as &dyn std::error::Error, "collection cannot be made or removed");
            Error::new(Reason::StorageFailed, "the data folder refused; the service's log names the file")
        }
    }
}

fn exists(name: &str) -> Error {
    let message = format!("there is a collection {name:?} already, and it was not asked for or has other settings");
    Error::new(Reason::CollectionExists, message).with_field("name")
}

fn fits(existing: &CollectionSpec, wanted: &NewCollection) -> bool {
    let same_embedder = wanted.embedder.as_ref().is_none_or(|embedder| {
        embedder.name == existing.embedder.name
            && (embedder.version.is_empty() || embedder.version == existing.embedder.version)
    });
    same_embedder && existing.metadata_fields == wanted.metadata_fields
}

fn checked_name(field: &str, name: &str) -> Result<(), Error> {
    check_name(name).map_err(|error| invalid(field, &error.to_string()))
}

fn invalid(field: &str, problem: &str) -> Error {
    Error::new(Reason::FieldInvalid, format!("{field} {problem}")).with_field(field)
}

fn check_ids(document_ids: &[String]) -> Result<(), Error> {
    document_ids.iter().enumerate().try_for_each(|(place, id)| check_id(&format!("document_ids[{place}]"), id))
}

/// Refuses encoders whose vectors no table takes.
fn check_dimension(encoder: &Encoder) -> Result<(), Error> {
    if (1..=MAX_DIMENSION).contains(&encoder.dimension) {
        return Ok(());
    }
    let message = format!("the embedder has a dimension of {}; it must be 1 to {MAX_DIMENSION}", encoder.dimension);
    Err(Error::new(Reason::Internal, message))
}

/// An encoder that changed its dimension under the same version would spoil the collection.
fn check_encoder(encoder: &Encoder, spec: &CollectionSpec) -> Result<(), Error> {
    if encoder.dimension == spec.dimension {
        return Ok(());
    }
    let message = format!(
        "the collection {:?} has vectors of {} values, and its embedder makes {}",
        spec.name, spec.dimension, encoder.dimension
    );
    Err(Error::new(Reason::EmbedderMismatch, message))
}
