//! The services, as the command line calls them. The only file here that names tonic.

use std::{path::Path, sync::OnceLock, time::Duration};

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use trivium_proto::{
    model::v1::{
        AnalyzeRequest, AnalyzeResponse, EmbedRequest, EmbedResponse, ListModelsRequest, LoadModelRequest, Model,
        ModelRef, PromoteModelRequest, PromoteModelResponse, RollbackModelRequest, RollbackModelResponse,
        ShadowModelRequest, ShadowReport, UnloadModelRequest, model_service_client::ModelServiceClient,
    },
    retriever::v1::{
        Blend, CheckCollectionRequest, CheckCollectionResponse, Collection, CreateCollectionRequest,
        DeleteCollectionRequest, DeleteTagRequest, GetCollectionRequest, GetDocumentsRequest, ListCollectionsRequest,
        ListSnapshotsRequest, PurgeDocumentsRequest, PurgeDocumentsResponse, ReembedCollectionRequest, RerankMethod,
        RetainedSnapshot, SearchRequest, SearchResponse, SetBlendRequest, SetRerankRequest, TagSnapshotRequest,
        UpgradeCollectionRequest, UpsertDocumentsRequest, UpsertDocumentsResponse,
        retriever_service_client::RetrieverServiceClient,
    },
    router::v1::{
        AuditRecord, CheckLabelsRequest, CheckLabelsResponse, ExportAuditRequest, GetAuditRecordRequest,
        GetPolicyRequest, GetPolicyResponse, QueryRequest, QueryResponse, QueryStreamRequest, QueryStreamResponse,
        ReplayQueryRequest, ReplayQueryResponse, RouteRequest, RouteResponse, SubmitFeedbackRequest,
        audit_service_client::AuditServiceClient, export_audit_response::Item,
        router_service_client::RouterServiceClient,
    },
};
use trivium_service_kit::{
    ClientOptions, ClientTlsOptions, ConfigError, Deadline, Error, GrpcChannel, Reason, Service, health,
};

use crate::args::Access;

/// The budget of one call. People give up sooner; scripts can set their own limits.
const PATIENCE: Duration = Duration::from_secs(60);

/// The budget of an export, which reads the whole log.
const EXPORT_PATIENCE: Duration = Duration::from_secs(3600);

/// Answers may hold 1,000 passages with their texts.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// How this process reaches services. It is set once, before the first command runs, and the same for every channel.
static ACCESS: OnceLock<Access> = OnceLock::new();

/// The variable that holds an API key or token.
const API_KEY: &str = "TRIVIUM_API_KEY";

/// Says how services are reached from now on. The first word counts.
pub fn introduce(access: Access) {
    let _ = ACCESS.set(access);
}

/// Whether what listens at `url` says that it serves. What it is does not matter.
///
/// # Errors
/// The outer one when `url` is no address or the certificates cannot be used, the inner one when nothing answers in time.
pub async fn is_serving(url: &str, patience: Duration) -> Result<Result<bool, Error>, ConfigError> {
    Ok(health::is_serving(channel(Service::Router, url)?, patience).await)
}

fn channel(peer: Service, url: &str) -> Result<GrpcChannel, ConfigError> {
    channel_with(peer, url, ACCESS.get().cloned().unwrap_or_default())
}

fn channel_with(peer: Service, url: &str, access: Access) -> Result<GrpcChannel, ConfigError> {
    let bearer = bearer(access.api_key_file.as_deref())?;
    let channel = GrpcChannel::connect(Service::Cli, peer, &options(url, access)).map_err(|error| {
        let key = error.key.as_str();
        let flag = match key.strip_prefix("tls.").unwrap_or(key) {
            "ca" => "--ca",
            "certificate" => "--cert",
            "key" => "--cert-key",
            "server_name" => "--server-name",
            _ => "--endpoint",
        };
        ConfigError { key: flag.into(), ..error }
    })?;
    match bearer {
        Some(bearer) => channel.with_bearer(&bearer).map_err(|error| ConfigError { key: API_KEY.into(), ..error }),
        None => Ok(channel),
    }
}

fn options(url: &str, access: Access) -> ClientOptions {
    let Access { ca, cert, cert_key, server_name, .. } = access;
    let tls = ca.map(|ca| ClientTlsOptions {
        ca,
        certificate: cert,
        key: cert_key,
        server_name: server_name.unwrap_or_default(),
        ..ClientTlsOptions::default()
    });
    // An address without a scheme, and the one that the endpoint's default has, mean what the other flags say.
    let bare = url.strip_prefix("http://").unwrap_or(url);
    let endpoint = match &tls {
        Some(_) if !bare.contains("://") => format!("https://{bare}"),
        None if !url.contains("://") => format!("http://{url}"),
        _ => url.to_owned(),
    };
    ClientOptions { endpoint, tls, ..ClientOptions::default() }
}

/// The key or token that is shown. The file goes before the variable.
fn bearer(file: Option<&Path>) -> Result<Option<String>, ConfigError> {
    let Some(path) = file else { return Ok(std::env::var(API_KEY).ok().filter(|key| !key.is_empty())) };
    let key = fs_err::read_to_string(path)
        .map_err(|error| ConfigError::new("--api-key-file", path.display(), error.to_string()))?;
    Ok(Some(key.trim().to_owned()))
}

fn request<T>(message: T) -> Request<T> {
    Deadline::after(PATIENCE).request(message)
}

fn answer<T>(outcome: Result<Response<T>, Status>) -> Result<T, Error> {
    Ok(outcome?.into_inner())
}

/// The router.
#[derive(Debug, Clone)]
pub struct Router(RouterServiceClient<GrpcChannel>);

impl Router {
    /// A client of the router at `url`; it connects with its first call.
    ///
    /// # Errors
    /// When `url` is no address.
    pub fn connect(url: &str) -> Result<Self, ConfigError> {
        Ok(Self::over(channel(Service::Router, url)?))
    }

    /// As [`Self::connect`], with a certificate and a key of its own.
    ///
    /// # Errors
    /// When `url` is no address, or the files cannot be used.
    pub fn connect_with(url: &str, access: Access) -> Result<Self, ConfigError> {
        Ok(Self::over(channel_with(Service::Router, url, access)?))
    }

    fn over(channel: GrpcChannel) -> Self {
        Self(RouterServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES))
    }

    /// The decision alone.
    pub async fn route(&self, message: RouteRequest) -> Result<RouteResponse, Error> {
        answer(self.0.clone().route(request(message)).await)
    }

    /// Where the labels of an intent model and the router's policy differ.
    pub async fn check_labels(&self, message: CheckLabelsRequest) -> Result<CheckLabelsResponse, Error> {
        answer(self.0.clone().check_labels(request(message)).await)
    }

    /// The policy that serves.
    pub async fn policy(&self) -> Result<GetPolicyResponse, Error> {
        answer(self.0.clone().get_policy(request(GetPolicyRequest {})).await)
    }

    /// The answer, whole.
    pub async fn query(&self, message: QueryRequest) -> Result<QueryResponse, Error> {
        answer(self.0.clone().query(request(message)).await)
    }

    /// The answer, piece by piece.
    pub async fn query_stream(
        &self,
        message: QueryStreamRequest,
    ) -> Result<impl Stream<Item = Result<QueryStreamResponse, Error>> + Unpin + use<>, Error> {
        let stream = answer(self.0.clone().query_stream(request(message)).await)?;
        Ok(stream.map(|event| event.map_err(Error::from)))
    }
}

impl Router {
    /// Hands in what somebody says of an answer.
    pub async fn submit_feedback(&self, message: SubmitFeedbackRequest) -> Result<(), Error> {
        answer(self.0.clone().submit_feedback(request(message)).await).map(drop)
    }
}

/// The router's records of the past.
#[derive(Debug, Clone)]
pub struct Audit(AuditServiceClient<GrpcChannel>);

impl Audit {
    /// A client of the router at `url`; it connects with its first call.
    ///
    /// # Errors
    /// When `url` is no address.
    pub fn connect(url: &str) -> Result<Self, ConfigError> {
        let channel = channel(Service::Router, url)?;
        Ok(Self(AuditServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)))
    }

    /// What is on record of a request.
    pub async fn record(&self, request_id: &str) -> Result<AuditRecord, Error> {
        let message = GetAuditRecordRequest { request_id: request_id.to_owned() };
        Ok(answer(self.0.clone().get_audit_record(request(message)).await)?.record.unwrap_or_default())
    }

    /// Runs a request again.
    pub async fn replay(&self, message: ReplayQueryRequest) -> Result<ReplayQueryResponse, Error> {
        answer(self.0.clone().replay_query(request(message)).await)
    }

    /// The records, oldest first.
    pub async fn export(
        &self,
        message: ExportAuditRequest,
    ) -> Result<impl Stream<Item = Result<Item, Error>> + Unpin + use<>, Error> {
        let request = Deadline::after(EXPORT_PATIENCE).request(message);
        let stream = answer(self.0.clone().export_audit(request).await)?;
        // A message without an item comes from a newer router, and says nothing to this one.
        Ok(stream.filter_map(|message| {
            std::future::ready(message.map(|message| message.item).map_err(Error::from).transpose())
        }))
    }
}

/// The retriever.
#[derive(Debug, Clone)]
pub struct Retriever(RetrieverServiceClient<GrpcChannel>);

impl Retriever {
    /// A client of the retriever at `url`; it connects with its first call.
    ///
    /// # Errors
    /// When `url` is no address.
    pub fn connect(url: &str) -> Result<Self, ConfigError> {
        Ok(Self::over(channel(Service::Retriever, url)?))
    }

    /// As [`Self::connect`], with a certificate and a key of its own.
    ///
    /// # Errors
    /// When `url` is no address, or the files cannot be used.
    pub fn connect_with(url: &str, access: Access) -> Result<Self, ConfigError> {
        Ok(Self::over(channel_with(Service::Retriever, url, access)?))
    }

    fn over(channel: GrpcChannel) -> Self {
        Self(RetrieverServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES))
    }

    /// Passages.
    pub async fn search(&self, message: SearchRequest) -> Result<SearchResponse, Error> {
        answer(self.0.clone().search(request(message)).await)
    }

    /// All collections, by name.
    pub async fn collections(&self) -> Result<Vec<Collection>, Error> {
        Ok(answer(self.0.clone().list_collections(request(ListCollectionsRequest {})).await)?.collections)
    }

    /// One collection; `None` when there is none of that name.
    pub async fn collection(&self, name: &str) -> Result<Option<Collection>, Error> {
        let message = GetCollectionRequest { name: name.to_owned() };
        match answer(self.0.clone().get_collection(request(message)).await) {
            Ok(found) => Ok(found.collection),
            Err(error) if error.reason() == Reason::CollectionNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a collection.
    pub async fn create(&self, message: CreateCollectionRequest) -> Result<Collection, Error> {
        let created = answer(self.0.clone().create_collection(request(message)).await)?;
        created.collection.ok_or_else(|| Error::new(Reason::Internal, "the retriever's answer holds no collection"))
    }

    /// Compares every row of a collection with its indexes.
    pub async fn check(&self, name: &str) -> Result<CheckCollectionResponse, Error> {
        let message = CheckCollectionRequest { name: name.to_owned() };
        answer(self.0.clone().check_collection(request(message)).await)
    }

    /// The kept states of a collection, the newest first.
    pub async fn snapshots(&self, collection: &str) -> Result<Vec<RetainedSnapshot>, Error> {
        let message = ListSnapshotsRequest { collection: collection.to_owned() };
        Ok(answer(self.0.clone().list_snapshots(request(message)).await)?.snapshots)
    }

    /// Sets how a collection weighs its legs; gives what holds then.
    pub async fn set_blend(&self, message: SetBlendRequest) -> Result<Blend, Error> {
        let set = answer(self.0.clone().set_blend(request(message)).await)?;
        set.blend.ok_or_else(|| Error::new(Reason::Internal, "the retriever's answer holds no blend"))
    }

    /// Sets which second stage a collection's searches have where they do not say; gives what holds then.
    pub async fn set_rerank(&self, message: SetRerankRequest) -> Result<RerankMethod, Error> {
        Ok(answer(self.0.clone().set_rerank(request(message)).await)?.method())
    }

    /// Begins to add token vectors to a collection.
    pub async fn upgrade(&self, name: &str) -> Result<Collection, Error> {
        let message = UpgradeCollectionRequest { name: name.to_owned() };
        let begun = answer(self.0.clone().upgrade_collection(request(message)).await)?;
        begun.collection.ok_or_else(|| Error::new(Reason::Internal, "the retriever's answer holds no collection"))
    }

    /// Begins to give a collection the vectors of another encoder, `None` meaning the one that serves.
    pub async fn reembed(&self, name: &str, embedder: Option<ModelRef>) -> Result<Collection, Error> {
        let message = ReembedCollectionRequest { name: name.to_owned(), embedder };
        let begun = answer(self.0.clone().reembed_collection(request(message)).await)?;
        begun.collection.ok_or_else(|| Error::new(Reason::Internal, "the retriever's answer holds no collection"))
    }

    /// Which of these documents a collection does not hold.
    pub async fn missing(&self, collection: &str, document_ids: Vec<String>) -> Result<Vec<String>, Error> {
        let message = GetDocumentsRequest { collection: collection.to_owned(), document_ids };
        Ok(answer(self.0.clone().get_documents(request(message)).await)?.missing_document_ids)
    }

    /// Names a kept state.
    pub async fn tag(&self, message: TagSnapshotRequest) -> Result<RetainedSnapshot, Error> {
        let tagged = answer(self.0.clone().tag_snapshot(request(message)).await)?;
        tagged.snapshot.ok_or_else(|| Error::new(Reason::Internal, "the retriever's answer holds no state"))
    }

    /// Takes a tag away.
    pub async fn untag(&self, message: DeleteTagRequest) -> Result<(), Error> {
        answer(self.0.clone().delete_tag(request(message)).await).map(drop)
    }

    /// Erases documents.
    pub async fn purge(&self, message: PurgeDocumentsRequest) -> Result<PurgeDocumentsResponse, Error> {
        answer(self.0.clone().purge_documents(request(message)).await)
    }

    /// Removes a collection.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let message = DeleteCollectionRequest { name: name.to_owned() };
        answer(self.0.clone().delete_collection(request(message)).await).map(drop)
    }

    /// Sends batches, and gives their acknowledgements. The stream has no
    /// deadline: it lasts as long as there are documents.
    pub async fn upsert(
        &self,
        batches: mpsc::Receiver<UpsertDocumentsRequest>,
    ) -> Result<impl Stream<Item = Result<UpsertDocumentsResponse, Error>> + Unpin + use<>, Error> {
        let stream = answer(self.0.clone().upsert_documents(ReceiverStream::new(batches)).await)?;
        Ok(stream.map(|acknowledgement| acknowledgement.map_err(Error::from)))
    }
}

/// The model host.
#[derive(Debug, Clone)]
pub struct ModelHost(ModelServiceClient<GrpcChannel>);

impl ModelHost {
    /// A client of the model host at `url`; it connects with its first call.
    ///
    /// # Errors
    /// When `url` is no address.
    pub fn connect(url: &str) -> Result<Self, ConfigError> {
        let channel = channel(Service::ModelHost, url)?;
        Ok(Self(ModelServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES)))
    }

    /// A query's intent, its vector, or both.
    pub async fn analyze(&self, message: AnalyzeRequest) -> Result<AnalyzeResponse, Error> {
        answer(self.0.clone().analyze(request(message)).await)
    }

    /// Vectors of texts.
    pub async fn embed(&self, message: EmbedRequest) -> Result<EmbedResponse, Error> {
        answer(self.0.clone().embed(request(message)).await)
    }

    /// All bundles, by name and version.
    pub async fn models(&self) -> Result<Vec<Model>, Error> {
        Ok(answer(self.0.clone().list_models(request(ListModelsRequest {})).await)?.models)
    }

    /// Loads a version beside those that serve.
    pub async fn load(&self, name: &str, version: &str) -> Result<Option<Model>, Error> {
        let message = LoadModelRequest { model: Some(version_of(name, version)) };
        Ok(answer(self.0.clone().load_model(request(message)).await)?.model)
    }

    /// Lets go of a version; says whether it was loaded.
    pub async fn unload(&self, name: &str, version: &str) -> Result<bool, Error> {
        let message = UnloadModelRequest { model: Some(version_of(name, version)) };
        Ok(answer(self.0.clone().unload_model(request(message)).await)?.unloaded)
    }

    /// Makes a version serve.
    pub async fn promote(&self, model: ModelRef) -> Result<PromoteModelResponse, Error> {
        answer(self.0.clone().promote_model(request(PromoteModelRequest { model: Some(model) })).await)
    }

    /// Makes the version before serve.
    pub async fn rollback(&self, name: String) -> Result<RollbackModelResponse, Error> {
        answer(self.0.clone().rollback_model(request(RollbackModelRequest { name })).await)
    }

    /// Sets, ends or reports the shadow of the intent model.
    pub async fn shadow(&self, message: ShadowModelRequest) -> Result<Option<ShadowReport>, Error> {
        Ok(answer(self.0.clone().shadow_model(request(message)).await)?.report)
    }
}

fn version_of(name: &str, version: &str) -> ModelRef {
    ModelRef { name: name.to_owned(), version: version.to_owned() }
}
