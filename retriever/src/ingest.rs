//! From documents to rows: chunking, embedding, writing.

mod renew;

use crate::chunk::{Chunk, ChunkOptions, chunk};
use crate::collection::{Change, Collection, PreparedDocument, Published, Tally, WriteError, Written};
use crate::context::draw_to_document;
use crate::document::Document;
use crate::embedder::{EMBED_BATCH_TEXTS, Embedder, Encoder, Lane, checked_vectors};
use crate::hash;
use crate::vector::{ChunkRow, DocumentRow, TokenColumn};
use futures::{StreamExt, TryStreamExt};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use trivium_service_kit::{Deadline, Error, Reason};

/// Embedding calls of one batch that are under way at the same time: one runs while the next one waits its turn.
const EMBED_CALLS_IN_FLIGHT: usize = 2;

/// Documents whose new ones are embedded, and which are ready for the writer.
#[derive(Debug)]
pub struct PreparedBatch {
    documents: Arc<HashMap<String, Document>>,
    changes: Vec<Change>,
}

/// What became of a batch.
#[derive(Debug)]
pub struct BatchOutcome {
    /// The state that holds it.
    pub published: Arc<Published>,
    /// What it changed.
    pub tally: Tally,
}

/// Turns documents into rows of one collection.
#[derive(Clone)]
pub struct Ingest {
    /// The collection.
    pub collection: Arc<Collection>,
    /// Makes the vectors.
    pub embedder: Arc<dyn Embedder>,
    /// The collection's encoder.
    pub encoder: Encoder,
    /// How documents are cut, apart from the encoder's own limit.
    pub chunking: ChunkOptions,
}

impl Ingest {
    /// Chunks and embeds those documents that the collection does not hold already, the same.
    ///
    /// # Errors
    /// Whatever embedding gives, and `DEADLINE_EXCEEDED`.
    pub async fn prepare(&self, documents: Vec<Document>, deadline: Deadline) -> Result<PreparedBatch, Error> {
        let ids: Vec<String> = documents.iter().map(|document| document.id.clone()).collect();
        let located = self.collection.locate(&ids);
        let present = |(document, entry): (&Document, &Option<_>)| is_same(document, entry.as_ref());
        let kept: Vec<bool> = documents.iter().zip(&located.entries).map(present).collect();
        let by_id: HashMap<String, Document> =
            documents.into_iter().map(|document| (document.id.clone(), document)).collect();
        let by_id = Arc::new(by_id);
        let (keep, put): (Vec<_>, Vec<_>) = ids.into_iter().zip(kept).partition(|(_, kept)| *kept);
        let put = put.into_iter().map(|(id, _)| id).collect();
        let keep = keep.into_iter().filter_map(|(id, _)| {
            let document_hash = by_id.get(&id)?.hash;
            Some(Change::Keep { document_id: id, document_hash })
        });
        let mut changes: Vec<Change> = keep.collect();
        changes.extend(self.put(&by_id, put, deadline).await?);
        Ok(PreparedBatch { documents: by_id, changes })
    }

    /// Writes a prepared batch, and waits until searches see it.
    ///
    /// # Errors
    /// `COLLECTION_NOT_FOUND` when it was deleted meanwhile, `STORAGE_FAILED` when it could not be written.
    pub async fn write(&self, batch: PreparedBatch, deadline: Deadline) -> Result<BatchOutcome, Error> {
        let PreparedBatch { documents, mut changes } = batch;
        loop {
            match self.collection.write(changes).await {
                Ok(Written::Published { published, tally }) => return Ok(BatchOutcome { published, tally }),
                // Another client changed documents between the preparation and the write. Each round turns at least
                // one that was to be kept into one that is written, so the rounds come to an end.
                Ok(Written::Stale { changes: all, document_ids }) => {
                    changes = without(all, &document_ids);
                    changes.extend(self.put(&documents, document_ids.into_iter().collect(), deadline).await?);
                }
                Err(WriteError::Succeeded(successor)) => {
                    return Box::pin(self.write_to(successor, &documents, deadline)).await;
                }
                Err(error) => return Err(write_error(&self.collection, &error)),
            }
        }
    }

    /// Writes to the collection that has taken this one's place meanwhile, which has another encoder.
    async fn write_to(
        &self,
        successor: Arc<Collection>,
        documents: &HashMap<String, Document>,
        deadline: Deadline,
    ) -> Result<BatchOutcome, Error> {
        if let Some(own) = documents.values().find_map(|document| document.vector.as_ref()) {
            let embedder = &successor.spec().embedder;
            let message = format!("the collection is embedded by {}/{} now", embedder.name, embedder.version);
            return Err(Error::new(Reason::EmbedderMismatch, message).with_field(own.field.clone()));
        }
        let encoder = self.embedder.encoder(Some(&successor.spec().embedder), deadline).await?;
        let ingest = Self { collection: successor, encoder, ..self.clone() };
        let batch = ingest.prepare(documents.values().cloned().collect(), deadline).await?;
        ingest.write(batch, deadline).await
    }

    async fn put(
        &self,
        documents: &Arc<HashMap<String, Document>>,
        ids: Vec<String>,
        deadline: Deadline,
    ) -> Result<Vec<Change>, Error> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (given, documents, encoder) = (documents.clone(), documents.clone(), self.encoder.clone());
        let options = ChunkOptions { max_tokens: encoder.max_tokens, ..self.chunking.clone() };
        // Chunking counts tokens, which takes milliseconds for a page and seconds for a book.
        let cut = tokio::task::spawn_blocking(move || {
            let documents = ids.iter().filter_map(|id| documents.get(id));
            documents.map(|document| rows_without_vectors(document, &encoder, &options)).collect::<Vec<_>>()
        });
        let mut prepared =
            deadline.limit("chunking", cut).await?.map_err(|error| Error::new(Reason::Internal, error.to_string()))?;
        prepared.iter_mut().try_for_each(|document| use_own_vector(document, &given))?;
        let rows = prepared.iter_mut().flat_map(|document| document.rows.iter_mut());
        let mut rows: Vec<&mut ChunkRow> = rows.filter(|row| row.vector.is_empty()).collect();
        let embedded = self.embed(rows.iter().map(|row| row.index_text.clone()).collect(), deadline).await?;
        for (row, (vector, token_vectors)) in rows.iter_mut().zip(embedded) {
            row.vector = vector;
            row.token_vectors = token_vectors;
        }
        let percent = self.collection.spec().document_context_percent;
        for document in &mut prepared {
            draw_to_document(document.rows.iter_mut().map(|row| &mut row.vector), percent);
        }
        Ok(prepared.into_iter().map(Change::Put).collect())
    }

    /// The vector of each text, and those of its tokens where the collection has such.
    async fn embed(&self, texts: Vec<String>, deadline: Deadline) -> Result<Vec<Embedded>, Error> {
        let dimension = self.encoder.dimension;
        // A chunk of nothing but markup has no words. Its row is kept, for the tiles to be complete, and is near to nothing.
        let worded: Vec<usize> = (0..texts.len()).filter(|place| !texts[*place].trim().is_empty()).collect();
        let total = texts.len();
        let batches: Vec<Vec<String>> = worded
            .chunks(EMBED_BATCH_TEXTS)
            .map(|places| places.iter().map(|place| texts[*place].clone()).collect())
            .collect();
        let published = self.collection.published();
        let column = published.table.layout().tokens.as_ref();
        let calls = futures::stream::iter(batches).map(|batch| self.embed_batch(batch, column, deadline));
        let embedded: Vec<Vec<Embedded>> = calls.buffered(EMBED_CALLS_IN_FLIGHT).try_collect().await?;
        let mut all = vec![(vec![0.0; dimension], column.map(|_| Vec::new())); total];
        worded.into_iter().zip(embedded.into_iter().flatten()).for_each(|(place, one)| all[place] = one);
        Ok(all)
    }

    async fn embed_batch(
        &self,
        batch: Vec<String>,
        column: Option<&TokenColumn>,
        deadline: Deadline,
    ) -> Result<Vec<Embedded>, Error> {
        let (count, dimension, model) = (batch.len(), self.encoder.dimension, &self.encoder.model);
        let Some(column) = column else {
            let vectors = self.embedder.embed(model, batch, Lane::Bulk, deadline).await?;
            let vectors = checked_vectors(vectors, count, dimension)?;
            return Ok(vectors.into_iter().map(|vector| (vector, None)).collect());
        };
        let embedded = self.embedder.embed_tokens(model, column, batch, Lane::Bulk, deadline).await?;
        let (vectors, tokens): (Vec<_>, Vec<_>) =
            embedded.into_iter().map(|embedding| (embedding.vector, Some(embedding.token_vectors))).unzip();
        Ok(checked_vectors(vectors, count, dimension)?.into_iter().zip(tokens).collect())
    }
}

/// The vector of a text, and those of its tokens where the collection has such.
type Embedded = (Vec<f32>, Option<Vec<i8>>);

/// What a failed write means to the client. The cause goes to the log, for it names files.
pub fn write_error(collection: &Collection, error: &WriteError) -> Error {
    let name = &collection.spec().name;
    match error {
        WriteError::Closed => Error::new(
            Reason::CollectionNotFound,
            format!("the collection {name:?} was deleted, or its service is stopping"),
        ),
        WriteError::Succeeded(_) => Error::new(
            Reason::Overloaded,
            format!("the collection {name:?} was given the vectors of another encoder meanwhile"),
        ),
        WriteError::Failed(cause) => {
            tracing::error!(collection = name, error = cause.as_ref() as &dyn std::error::Error, "write failed");
            Error::new(Reason::StorageFailed, format!("the collection {name:?} could not be written"))
        }
    }
}

fn is_same(document: &Document, entry: Option<&crate::collection::DocumentEntry>) -> bool {
    entry.is_some_and(|entry| entry.hash == document.hash)
}

fn without(changes: Vec<Change>, document_ids: &BTreeSet<String>) -> Vec<Change> {
    let stays =
        |change: &Change| !matches!(change, Change::Keep { document_id, .. } if document_ids.contains(document_id));
    changes.into_iter().filter(stays).collect()
}

/// Takes the vector that came with a document, if one did.
fn use_own_vector(prepared: &mut PreparedDocument, documents: &HashMap<String, Document>) -> Result<(), Error> {
    let Some(own) = documents.get(&prepared.document_id).and_then(|document| document.vector.as_ref()) else {
        return Ok(());
    };
    let chunks = prepared.rows.len();
    let [row] = prepared.rows.as_mut_slice() else {
        let message = format!(
            "{} of the document {:?} stands for one chunk, and its text makes {chunks}; leave it out, or send shorter documents",
            own.field, prepared.document_id
        );
        return Err(Error::new(Reason::VectorInvalid, message).with_field(own.field.clone()));
    };
    row.vector.clone_from(&own.values);
    Ok(())
}

fn rows_without_vectors(document: &Document, encoder: &Encoder, options: &ChunkOptions) -> PreparedDocument {
    let shared = Arc::new(DocumentRow {
        document_id: document.id.clone(),
        title: document.title.clone(),
        uri: document.uri.clone(),
        content_type: document.content_type.as_str().to_owned(),
        language: document.language.clone(),
        declared: document.declared.clone(),
        metadata_json: document.metadata_json.clone(),
        document_hash: document.hash,
    });
    let chunks = chunk(&document.text, document.content_type, &document.title, encoder.counter.as_ref(), options);
    let rows = chunks.into_iter().map(|chunk| row_of(&shared, chunk)).collect();
    PreparedDocument { document_id: document.id.clone(), document_hash: document.hash, rows }
}

fn row_of(document: &Arc<DocumentRow>, chunk: Chunk<'_>) -> ChunkRow {
    let (start, end) = (chunk.char_start, chunk.char_end);
    ChunkRow {
        chunk_id: format!("{}#{}", document.document_id, chunk.chunk_no),
        chunk_no: chunk.chunk_no,
        char_start: start,
        char_end: end,
        chunk_hash: hash::chunk_hash(chunk.text, &document.title, &chunk.heading_path, start, end),
        index_text: chunk.embedding_text(),
        text: chunk.text.to_owned(),
        heading_path: chunk.heading_path,
        document: document.clone(),
        vector: Vec::new(),
        token_vectors: None,
    }
}
