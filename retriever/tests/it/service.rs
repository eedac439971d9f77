//! A retriever on a free port, and a client of it.

use crate::hashing_embedder::HashingEmbedder;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use trivium_proto::model::v1::ModelRef;
use trivium_proto::retriever::v1::retriever_service_client::RetrieverServiceClient;
use trivium_proto::retriever::v1::*;
use trivium_retriever::{Handle, Options, start_with};
use trivium_service_kit::{ClientOptions, Error, GrpcChannel, Service};

/// The collection that most tests use.
pub const DOCS: &str = "docs";

/// A retriever that serves a folder of its own.
pub struct Running {
    pub client: RetrieverServiceClient<GrpcChannel>,
    pub embedder: Arc<HashingEmbedder>,
    folder: Arc<TempDir>,
    shutdown: CancellationToken,
    handle: Handle,
}

impl Running {
    /// Starts with an empty data folder.
    pub async fn start() -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), |_| {}).await
    }

    /// Starts with an empty data folder and other options.
    pub async fn start_with(change: impl FnOnce(&mut Options)) -> Self {
        Self::start_in(Arc::new(tempfile::tempdir().unwrap()), change).await
    }

    /// Starts with an empty data folder, and makes the usual collection.
    pub async fn with_collection() -> Self {
        let mut running = Self::start().await;
        running.create(DOCS, Vec::new()).await.unwrap();
        running
    }

    async fn start_in(folder: Arc<TempDir>, change: impl FnOnce(&mut Options)) -> Self {
        let embedder = Arc::new(HashingEmbedder::default());
        let shutdown = CancellationToken::new();
        let mut options = options(folder.path());
        change(&mut options);
        let handle = start_with(&options, embedder.clone(), shutdown.clone()).await.unwrap();
        let to = ClientOptions::to(handle.addr().port());
        let channel = GrpcChannel::connect(Service::Cli, Service::Retriever, &to).unwrap();
        let client = RetrieverServiceClient::new(channel).max_decoding_message_size(to.max_message_bytes);
        Self { client, embedder, folder, shutdown, handle }
    }

    /// The data folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Stops, and gives the folder, which lives on.
    pub async fn stop(self) -> Arc<TempDir> {
        let Self { client, folder, shutdown, handle, .. } = self;
        // A connection that stays open would be waited for.
        drop(client);
        shutdown.cancel();
        handle.stopped().await;
        folder
    }

    /// Stops, lets `meddle` change the data folder, and starts anew.
    pub async fn restart_after(self, meddle: impl FnOnce(&Path)) -> Self {
        let folder = self.stop().await;
        meddle(folder.path());
        Self::start_in(folder, |_| {}).await
    }

    /// Stops, and starts anew with other options.
    pub async fn restart_with(self, change: impl FnOnce(&mut Options)) -> Self {
        Self::start_in(self.stop().await, change).await
    }

    pub async fn create(&mut self, name: &str, metadata_fields: Vec<MetadataField>) -> Result<Collection, Status> {
        let request = CreateCollectionRequest { name: name.into(), embedder: None, metadata_fields, if_absent: false };
        let response = self.client.create_collection(request).await?;
        Ok(response.into_inner().collection.unwrap())
    }

    pub async fn describe(&mut self, name: &str) -> Collection {
        let request = GetCollectionRequest { name: name.into() };
        self.client.get_collection(request).await.unwrap().into_inner().collection.unwrap()
    }

    /// Begins to add token vectors.
    pub async fn upgrade(&mut self, name: &str) -> Result<Collection, Error> {
        let request = UpgradeCollectionRequest { name: name.into() };
        Ok(self.client.upgrade_collection(request).await?.into_inner().collection.unwrap())
    }

    /// Begins to give a collection the vectors of another encoder.
    pub async fn reembed(&mut self, name: &str, embedder: Option<ModelRef>) -> Result<Collection, Error> {
        let request = ReembedCollectionRequest { name: name.into(), embedder };
        Ok(self.client.reembed_collection(request).await?.into_inner().collection.unwrap())
    }

    /// Sends batches on one stream; gives the acknowledgements, and the refusal that ended the stream, if any.
    pub async fn stream(
        &mut self,
        batches: Vec<UpsertDocumentsRequest>,
    ) -> (Vec<UpsertDocumentsResponse>, Option<Status>) {
        let answers = match self.client.upsert_documents(tokio_stream::iter(batches)).await {
            Ok(response) => response.into_inner().collect::<Vec<_>>().await,
            Err(status) => vec![Err(status)],
        };
        let mut acknowledged = Vec::new();
        for answer in answers {
            match answer {
                Ok(response) => acknowledged.push(response),
                Err(status) => return (acknowledged, Some(status)),
            }
        }
        (acknowledged, None)
    }

    /// Sends one batch to the usual collection.
    pub async fn upsert(&mut self, documents: Vec<Document>) -> UpsertDocumentsResponse {
        let (mut acknowledged, refused) = self.stream(vec![batch("only", documents)]).await;
        assert!(refused.is_none(), "{refused:?}");
        acknowledged.remove(0)
    }

    /// Sends one batch that must be refused, and gives the refusal.
    pub async fn refused(&mut self, batch: UpsertDocumentsRequest) -> Error {
        let (acknowledged, refused) = self.stream(vec![batch]).await;
        assert!(acknowledged.is_empty(), "{acknowledged:?}");
        refused.expect("the batch is refused").into()
    }

    pub async fn delete(&mut self, ids: &[&str]) -> DeleteDocumentsResponse {
        let document_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = DeleteDocumentsRequest { collection: DOCS.into(), document_ids };
        self.client.delete_documents(request).await.unwrap().into_inner()
    }

    pub async fn get(&mut self, ids: &[&str]) -> GetDocumentsResponse {
        let document_ids = ids.iter().map(|id| (*id).to_owned()).collect();
        let request = GetDocumentsRequest { collection: DOCS.into(), document_ids };
        self.client.get_documents(request).await.unwrap().into_inner()
    }

    pub async fn search(&mut self, request: SearchRequest) -> Result<SearchResponse, Error> {
        Ok(self.client.search(request).await.map_err(Error::from)?.into_inner())
    }

    /// Compares every row of the usual collection.
    pub async fn check(&mut self) -> CheckCollectionResponse {
        let request = CheckCollectionRequest { name: DOCS.into() };
        self.client.check_collection(request).await.unwrap().into_inner()
    }

    /// Ids of the documents that one leg finds.
    pub async fn found_by(&mut self, leg: Leg, query: &str) -> Vec<String> {
        let request =
            SearchRequest { legs: vec![leg.into()], k: Some(1_000), group_by_document: true, ..search(query) };
        let hits = self.search(request).await.unwrap().hits;
        let mut ids: Vec<_> = hits.into_iter().map(|hit| hit.document_id).collect();
        ids.sort();
        ids
    }
}

pub fn options(folder: &Path) -> Options {
    let mut options = Options { data_dir: folder.to_owned(), max_document_bytes: 1 << 20, ..Options::default() };
    options.server.addr.set_port(0);
    options
}

pub fn search(query: &str) -> SearchRequest {
    SearchRequest { collection: DOCS.into(), query: query.into(), ..SearchRequest::default() }
}

pub fn batch(batch_id: &str, documents: Vec<Document>) -> UpsertDocumentsRequest {
    UpsertDocumentsRequest { collection: DOCS.into(), batch_id: batch_id.into(), documents }
}

pub fn plain(id: &str, text: &str) -> Document {
    Document { id: id.into(), text: text.into(), ..Document::default() }
}
