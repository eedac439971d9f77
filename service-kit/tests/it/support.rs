//! A model service whose answers take as long as the test says.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Stream, stream};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, service::Routes};
use trivium_proto::model::v1::{
    AnalyzeRequest, AnalyzeResponse, EmbedRequest, EmbedResponse, GenerateRequest, GenerateResponse,
    GetTokenizerRequest, GetTokenizerResponse, ListModelsRequest, ListModelsResponse, LoadModelRequest,
    LoadModelResponse, PromoteModelRequest, PromoteModelResponse, RerankRequest, RerankResponse, RollbackModelRequest,
    RollbackModelResponse, ShadowModelRequest, ShadowModelResponse, UnloadModelRequest, UnloadModelResponse,
    generate_response::Event,
    model_service_client::ModelServiceClient,
    model_service_server::{ModelService, ModelServiceServer, SERVICE_NAME},
};
use trivium_service_kit::{
    Caller, ClientOptions, Deadline, Error, GrpcChannel, Handle, Peer, Reason, Server, ServerOptions, Service,
};

/// Analyze waits as many milliseconds as the query says. Generate sends the
/// query three times, with that wait before each. Embed answers with the
/// traceparent it was given, as an error message. ListModels answers with the
/// milliseconds that were left. Analyze and Generate answer the text [`AWAY`] with
/// SHUTTING_DOWN, and Analyze the text [`AWAY_ONCE`] when it is the first call. Generate gives no piece of the text [`HELD`]
/// before the test releases it.
#[derive(Default)]
pub struct Scripted {
    /// The calls of Analyze and Generate so far.
    calls: Arc<AtomicUsize>,
    /// Those of Analyze that run, and the most that ever did.
    running: AtomicUsize,
    most_running: Arc<AtomicUsize>,
    /// On whose behalf Analyze was called, where that is asked.
    tenants: Arc<Mutex<Vec<String>>>,
    /// The names on the certificates of those who called Analyze.
    peers: Arc<Mutex<HashSet<Vec<String>>>>,
    /// Once held texts go on.
    released: CancellationToken,
    /// Another such service, whose Analyze is called by this one's, and by its Generate while the answer is read.
    inner: Option<ModelServiceClient<GrpcChannel>>,
}

/// A text that gets no answer.
pub const AWAY: &str = "away";

/// A text that gets none at first.
pub const AWAY_ONCE: &str = "away once";

/// A text whose pieces come when the test says so.
pub const HELD: &str = "held";

impl Scripted {
    fn refuse(&self, text: &str) -> Result<(), Error> {
        let earlier = self.calls.fetch_add(1, Ordering::Relaxed);
        if text == AWAY || (text == AWAY_ONCE && earlier == 0) {
            return Err(Error::new(Reason::ShuttingDown, "as the test says"));
        }
        Ok(())
    }
}

fn wait_of(text: &str) -> Duration {
    Duration::from_millis(text.parse().unwrap_or(0))
}

#[tonic::async_trait]
impl ModelService for Scripted {
    async fn analyze(&self, request: Request<AnalyzeRequest>) -> Result<Response<AnalyzeResponse>, Status> {
        self.refuse(&request.get_ref().text)?;
        if let Caller::Tenant { tenant, .. } = Caller::of(&request) {
            self.tenants.lock().expect("no test panics with it").push(tenant.name().to_owned());
        }
        if let Some(peer) = request.extensions().get::<Peer>() {
            self.peers.lock().expect("no test panics with it").insert(peer.names().to_vec());
        }
        if let Some(inner) = &self.inner {
            return inner.clone().analyze(request.into_inner()).await;
        }
        let running = self.running.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_running.fetch_max(running, Ordering::Relaxed);
        tokio::time::sleep(wait_of(&request.get_ref().text)).await;
        self.running.fetch_sub(1, Ordering::Relaxed);
        Ok(Response::new(AnalyzeResponse::default()))
    }

    async fn embed(&self, request: Request<EmbedRequest>) -> Result<Response<EmbedResponse>, Status> {
        let parent = request.metadata().get("traceparent").map(|value| value.to_str().unwrap_or_default().to_owned());
        Err(Error::new(Reason::Internal, parent.unwrap_or_default()).into())
    }

    async fn get_tokenizer(&self, _: Request<GetTokenizerRequest>) -> Result<Response<GetTokenizerResponse>, Status> {
        Err(Error::new(Reason::ModelNotFound, "no such encoder").with_field("model").into())
    }

    type GenerateStream = Pin<Box<dyn Stream<Item = Result<GenerateResponse, Status>> + Send>>;

    async fn generate(&self, request: Request<GenerateRequest>) -> Result<Response<Self::GenerateStream>, Status> {
        let query = request.into_inner().query;
        self.refuse(&query)?;
        let (inner, released) = (self.inner.clone(), self.released.clone());
        let pieces = stream::unfold(0, move |sent| {
            let (query, inner) = (query.clone(), inner.clone().filter(|_| sent == 0));
            let released = released.clone();
            async move {
                if let Some(mut inner) = inner {
                    inner.analyze(analyze(0)).await.expect("passed on");
                }
                if sent == 3 {
                    return None;
                }
                tokio::time::sleep(wait_of(&query)).await;
                if query == HELD {
                    released.cancelled().await;
                }
                Some((Ok(GenerateResponse { event: Some(Event::Text(query)) }), sent + 1))
            }
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn list_models(&self, request: Request<ListModelsRequest>) -> Result<Response<ListModelsResponse>, Status> {
        let left = Deadline::of(&request).remaining().as_millis();
        Err(Error::new(Reason::Internal, left.to_string()).into())
    }

    async fn rerank(&self, _: Request<RerankRequest>) -> Result<Response<RerankResponse>, Status> {
        Err(Status::unimplemented("no test changes models"))
    }

    async fn load_model(&self, _: Request<LoadModelRequest>) -> Result<Response<LoadModelResponse>, Status> {
        Err(Status::unimplemented("no test changes models"))
    }

    async fn unload_model(&self, _: Request<UnloadModelRequest>) -> Result<Response<UnloadModelResponse>, Status> {
        Err(Status::unimplemented("no test changes models"))
    }

    async fn promote_model(&self, _: Request<PromoteModelRequest>) -> Result<Response<PromoteModelResponse>, Status> {
        Err(Status::unimplemented("no test changes models"))
    }

    async fn rollback_model(
        &self,
        _: Request<RollbackModelRequest>,
    ) -> Result<Response<RollbackModelResponse>, Status> {
        Err(Status::unimplemented("no test changes models"))
    }

    async fn shadow_model(&self, _: Request<ShadowModelRequest>) -> Result<Response<ShadowModelResponse>, Status> {
        Err(Status::unimplemented("no test changes models"))
    }
}

/// A running server of [`Scripted`], and what stops it.
pub struct Running {
    pub handle: Handle,
    pub stop: CancellationToken,
    calls: Arc<AtomicUsize>,
    most_running: Arc<AtomicUsize>,
    tenants: Arc<Mutex<Vec<String>>>,
    peers: Arc<Mutex<HashSet<Vec<String>>>>,
    released: CancellationToken,
}

pub async fn start(options: ServerOptions) -> Running {
    serve(Scripted::default(), options).await
}

/// One that passes calls on to another.
pub async fn start_relay(options: ServerOptions, inner: ModelServiceClient<GrpcChannel>) -> Running {
    serve(Scripted { inner: Some(inner), ..Scripted::default() }, options).await
}

async fn serve(scripted: Scripted, options: ServerOptions) -> Running {
    let server = Server::bind(Service::ModelHost, &options).await.expect("a free port");
    let tenants = Arc::clone(&scripted.tenants);
    let (calls, most_running) = (Arc::clone(&scripted.calls), Arc::clone(&scripted.most_running));
    let (peers, released) = (Arc::clone(&scripted.peers), scripted.released.clone());
    let service = ModelServiceServer::new(scripted).max_decoding_message_size(options.max_message_bytes);
    let stop = CancellationToken::new();
    let handle = server.serve(Routes::new(service), &[SERVICE_NAME], stop.clone()).await;
    handle.set_serving(true).await;
    Running { handle, stop, calls, most_running, tenants, peers, released }
}

impl Running {
    pub fn client(&self) -> ModelServiceClient<GrpcChannel> {
        client_to(self.handle.addr().port())
    }

    /// The calls of Analyze and Generate that arrived.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// On whose behalf Analyze was called.
    pub fn tenants(&self) -> Vec<String> {
        self.tenants.lock().expect("no test panics with it").clone()
    }

    /// Whether somebody called Analyze whose certificate had just these names.
    pub fn has_seen(&self, names: &[String]) -> bool {
        self.peers.lock().expect("no test panics with it").contains(names)
    }

    /// Lets the texts go on that are held.
    pub fn release(&self) {
        self.released.cancel();
    }

    /// The most calls of Analyze that ever ran at once, as long as none was given up.
    pub fn most_running(&self) -> usize {
        self.most_running.load(Ordering::Relaxed)
    }
}

pub fn client_to(port: u16) -> ModelServiceClient<GrpcChannel> {
    client_of(Service::Router, &ClientOptions::to(port))
}

pub fn client_of(caller: Service, options: &ClientOptions) -> ModelServiceClient<GrpcChannel> {
    ModelServiceClient::new(GrpcChannel::connect(caller, Service::ModelHost, options).expect("an address"))
}

/// A client from outside, which shows a key or a token.
pub fn bearer_client(server: &Running, bearer: &str) -> ModelServiceClient<GrpcChannel> {
    let options = ClientOptions::to(server.handle.addr().port());
    let channel = GrpcChannel::connect(Service::Cli, Service::ModelHost, &options).expect("an address");
    ModelServiceClient::new(channel.with_bearer(bearer).expect("plain"))
}

pub fn analyze_text(text: &str) -> AnalyzeRequest {
    AnalyzeRequest { text: text.to_owned(), ..AnalyzeRequest::default() }
}

pub fn analyze(wait_ms: u64) -> AnalyzeRequest {
    AnalyzeRequest { text: wait_ms.to_string(), ..AnalyzeRequest::default() }
}
