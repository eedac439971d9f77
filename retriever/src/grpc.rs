//! The retriever as a gRPC service. Nothing is decided here: messages are turned into what the service takes, and back.

mod convert;
mod json;
mod rerank;
mod search;
mod snapshots;
mod upsert;

use crate::service::Retriever;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::sync::Arc;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use trivium_proto::retriever::v1::retriever_service_server::{RetrieverService, RetrieverServiceServer};
use trivium_proto::retriever::v1::{
    CheckCollectionRequest, CheckCollectionResponse, CreateCollectionRequest, CreateCollectionResponse,
    DeleteCollectionRequest, DeleteCollectionResponse, DeleteDocumentsRequest, DeleteDocumentsResponse,
    DeleteTagRequest, DeleteTagResponse, GetCollectionRequest, GetCollectionResponse, GetDocumentsRequest,
    GetDocumentsResponse, ListCollectionsRequest, ListCollectionsResponse, ListSnapshotsRequest, ListSnapshotsResponse,
    PurgeDocumentsRequest, PurgeDocumentsResponse, ReembedCollectionRequest, ReembedCollectionResponse, SearchRequest,
    SearchResponse, SetBlendRequest, SetBlendResponse, SetRerankRequest, SetRerankResponse, TagSnapshotRequest,
    TagSnapshotResponse, UpgradeCollectionRequest, UpgradeCollectionResponse, UpsertDocumentsRequest,
    UpsertDocumentsResponse,
};
use trivium_service_kit::{Caller, Deadline, Error, validate};

/// Most ids of one request.
const MAX_IDS: u32 = 1_024;

/// Serves a retriever.
struct Grpc {
    retrievers: Retrievers,
}

/// The retrievers of all tenants. There is no other way to one than through the request that it is asked by, so that no
/// call can forget whose it is.
struct Retrievers(Arc<Retriever>);

impl Retrievers {
    /// The retriever that a request may ask.
    fn of<T>(&self, request: &Request<T>) -> Result<Retriever, Error> {
        Ok(self.0.of(Caller::of(request).tenant()?))
    }
}

/// The service's routes, and its full name for health checks. Messages of up to `max_message_bytes` go in and out.
pub(crate) fn routes(retriever: Arc<Retriever>, max_message_bytes: usize) -> (Routes, &'static str) {
    let service = RetrieverServiceServer::new(Grpc { retrievers: Retrievers(retriever) })
        .max_decoding_message_size(max_message_bytes)
        .max_encoding_message_size(max_message_bytes);
    (Routes::new(service), RetrieverServiceServer::<Grpc>::NAME)
}

#[tonic::async_trait]
impl RetrieverService for Grpc {
    async fn create_collection(
        &self,
        request: Request<CreateCollectionRequest>,
    ) -> Result<Response<CreateCollectionResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let wanted = convert::new_collection(request.into_inner())?;
        let made = deadline.limit("making a collection", retriever.create_collection(wanted, deadline)).await??;
        Ok(Response::new(CreateCollectionResponse { collection: Some(convert::collection(&made)) }))
    }

    async fn get_collection(
        &self,
        request: Request<GetCollectionRequest>,
    ) -> Result<Response<GetCollectionResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let collection = retriever.collection("name", &request.get_ref().name)?;
        Ok(Response::new(GetCollectionResponse { collection: Some(convert::collection(&collection)) }))
    }

    async fn list_collections(
        &self,
        request: Request<ListCollectionsRequest>,
    ) -> Result<Response<ListCollectionsResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let collections = retriever.collections().iter().map(|collection| convert::collection(collection)).collect();
        Ok(Response::new(ListCollectionsResponse { collections }))
    }

    async fn delete_collection(
        &self,
        request: Request<DeleteCollectionRequest>,
    ) -> Result<Response<DeleteCollectionResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        retriever.delete_collection(&request.get_ref().name).await?;
        Ok(Response::new(DeleteCollectionResponse {}))
    }

    type UpsertDocumentsStream = BoxStream<'static, Result<UpsertDocumentsResponse, Status>>;

    async fn upsert_documents(
        &self,
        request: Request<Streaming<UpsertDocumentsRequest>>,
    ) -> Result<Response<Self::UpsertDocumentsStream>, Status> {
        let retriever = self.retrievers.of(&request)?;
        // Without a deadline of its caller's, a stream lives for as long as there are documents.
        let deadline = request.extensions().get().copied();
        Ok(Response::new(upsert::run(retriever, request.into_inner(), deadline).boxed()))
    }

    async fn delete_documents(
        &self,
        request: Request<DeleteDocumentsRequest>,
    ) -> Result<Response<DeleteDocumentsResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let DeleteDocumentsRequest { collection, document_ids } = request.into_inner();
        check_count(&document_ids)?;
        let work = retriever.delete_documents(&collection, document_ids);
        let (published, deleted) = deadline.limit("deleting documents", work).await??;
        let snapshot = Some(convert::snapshot(&collection, &published));
        Ok(Response::new(DeleteDocumentsResponse { snapshot, deleted }))
    }

    async fn get_documents(
        &self,
        request: Request<GetDocumentsRequest>,
    ) -> Result<Response<GetDocumentsResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let GetDocumentsRequest { collection, document_ids } = request.into_inner();
        check_count(&document_ids)?;
        let work = retriever.get_documents(&collection, &document_ids);
        let documents = deadline.limit("reading documents", work).await??;
        Ok(Response::new(GetDocumentsResponse {
            snapshot: Some(convert::snapshot(&collection, &documents.published)),
            documents: documents.found.into_iter().map(convert::stored_document).collect(),
            missing_document_ids: documents.missing,
        }))
    }

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let request = request.into_inner();
        let name = request.collection.clone();
        let collection = retriever.collection("collection", &name)?;
        let query = search::query(request, collection.blend().weights())?;
        let used = search::used_fusion(&query);
        let found = retriever.search(&collection, query, deadline).await?;
        Ok(Response::new(search::response(&collection, found, used)?))
    }

    async fn check_collection(
        &self,
        request: Request<CheckCollectionRequest>,
    ) -> Result<Response<CheckCollectionResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let name = request.into_inner().name;
        let report = deadline.limit("the check", retriever.check_collection(&name)).await??;
        Ok(Response::new(convert::check_report(&name, report)))
    }

    async fn list_snapshots(
        &self,
        request: Request<ListSnapshotsRequest>,
    ) -> Result<Response<ListSnapshotsResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let collection = request.into_inner().collection;
        let kept = retriever.list_snapshots(&collection)?.into_iter();
        let snapshots = kept.map(|retained| snapshots::retained(&collection, retained)).collect();
        Ok(Response::new(ListSnapshotsResponse { snapshots }))
    }

    async fn tag_snapshot(
        &self,
        request: Request<TagSnapshotRequest>,
    ) -> Result<Response<TagSnapshotResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let TagSnapshotRequest { collection, tag, version } = request.into_inner();
        let version = (version != 0).then_some(version);
        let tagged = deadline.limit("tagging", retriever.tag_snapshot(&collection, &tag, version)).await??;
        Ok(Response::new(TagSnapshotResponse { snapshot: Some(snapshots::retained(&collection, tagged)) }))
    }

    async fn delete_tag(&self, request: Request<DeleteTagRequest>) -> Result<Response<DeleteTagResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let DeleteTagRequest { collection, tag } = request.into_inner();
        deadline.limit("deleting a tag", retriever.delete_tag(&collection, &tag)).await??;
        Ok(Response::new(DeleteTagResponse {}))
    }

    async fn purge_documents(
        &self,
        request: Request<PurgeDocumentsRequest>,
    ) -> Result<Response<PurgeDocumentsResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let PurgeDocumentsRequest { collection, document_ids } = request.into_inner();
        check_count(&document_ids)?;
        let work = retriever.purge_documents(&collection, document_ids);
        let purged = deadline.limit("the purge, which goes on", work).await??;
        Ok(Response::new(snapshots::purged(&collection, purged)))
    }

    async fn set_blend(&self, request: Request<SetBlendRequest>) -> Result<Response<SetBlendResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let SetBlendRequest { name, semantic_weight, queries } = request.into_inner();
        let work = retriever.set_blend(&name, semantic_weight, queries);
        let blend = deadline.limit("setting the blend", work).await??;
        Ok(Response::new(SetBlendResponse { blend: Some(convert::blend(blend)) }))
    }

    async fn set_rerank(&self, request: Request<SetRerankRequest>) -> Result<Response<SetRerankResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let SetRerankRequest { name, method } = request.into_inner();
        let wanted = rerank::wanted("method", method)?;
        deadline.limit("setting the second stage", retriever.set_rerank(&name, wanted)).await??;
        Ok(Response::new(SetRerankResponse { method: rerank::wanted_method(wanted).into() }))
    }

    async fn upgrade_collection(
        &self,
        request: Request<UpgradeCollectionRequest>,
    ) -> Result<Response<UpgradeCollectionResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let work = retriever.upgrade_collection(&request.get_ref().name, deadline);
        let collection = deadline.limit("beginning the upgrade", work).await??;
        Ok(Response::new(UpgradeCollectionResponse { collection: Some(convert::collection(&collection)) }))
    }

    async fn reembed_collection(
        &self,
        request: Request<ReembedCollectionRequest>,
    ) -> Result<Response<ReembedCollectionResponse>, Status> {
        let retriever = self.retrievers.of(&request)?;
        let deadline = Deadline::of(&request);
        let ReembedCollectionRequest { name, embedder } = request.into_inner();
        let embedder = embedder.map(convert::wanted_embedder).transpose()?;
        let work = retriever.reembed_collection(&name, embedder.as_ref(), deadline);
        let collection = deadline.limit("beginning the re-embedding", work).await??;
        Ok(Response::new(ReembedCollectionResponse { collection: Some(convert::collection(&collection)) }))
    }
}

fn check_count(document_ids: &[String]) -> Result<(), Status> {
    let count = u32::try_from(document_ids.len()).unwrap_or(u32::MAX);
    validate::in_range("document_ids", count, 1..=MAX_IDS)?;
    Ok(())
}
