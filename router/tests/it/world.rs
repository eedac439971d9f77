//! A router with stand-ins below it, all on free ports of loopback.

use std::{net::SocketAddr, sync::Arc};

use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint},
};
use trivium_proto::{
    model::v1::model_service_server::ModelServiceServer,
    retriever::v1::retriever_service_server::RetrieverServiceServer,
    router::v1::{
        QueryOptions, QueryRequest, QueryResponse, QueryStreamRequest, RouteRequest, RouteResponse,
        audit_service_client::AuditServiceClient, query_stream_response::Event,
        router_service_client::RouterServiceClient,
    },
};
use trivium_router::{AuditOptions, CacheOptions, Handle, Options};
use trivium_service_kit::{ClientOptions, Error, Server, ServerOptions, Service};

use crate::{
    fake_model_host::{self, FakeModelHost},
    fake_retriever::{self, FakeRetriever},
    traces,
};

/// The policy of most tests.
pub const ROUTES: &str = r#"
version = 1
[default]
route = "hybrid"
threshold = 0.5
k = 4
[out_of_scope]
route = "reply"
reply = "I cannot help with that."
[intents.lookup]
route = "lexical"
[intents.factual]
route = "semantic"
[intents.how_to]
route = "hybrid"
fusion = { method = "rrf", k = 30, weights = { lexical = 1, semantic = 2 } }
rerank = { method = "cross_encoder", depth = 9 }
[intents.small_talk]
route = "reply"
reply = "Hello!"
[intents.text_task]
route = "direct"
"#;

/// What a world is made of.
#[derive(Default)]
pub struct Plan {
    pub model_host: fake_model_host::Script,
    pub retriever: fake_retriever::Script,
    pub routes: Option<&'static str>,
    pub default_deadline_ms: Option<u64>,
    pub generate_ms: Option<u64>,
    pub audit: AuditOptions,
    pub cache: CacheOptions,
    pub analyze_ms: Option<u64>,
    pub search_ms: Option<u64>,
}

impl Plan {
    /// A world in which the model gives this intent.
    pub fn of_intent(label: &str, confidence: f64) -> Self {
        let intent = fake_model_host::intent(label, confidence);
        let model_host = fake_model_host::Script { intent, ..Default::default() };
        Self { model_host, ..Self::default() }
    }

    /// A world in which generations go like this.
    pub fn of_generation(generation: fake_model_host::Generation) -> Self {
        let model_host = fake_model_host::Script { generation, ..Default::default() };
        Self { model_host, ..Self::default() }
    }
}

/// A running world. Dropping it stops everything in it.
pub struct World {
    pub router: RouterServiceClient<Channel>,
    pub model_host: Arc<FakeModelHost>,
    pub retriever: Arc<FakeRetriever>,
    pub audit: AuditServiceClient<Channel>,
    handle: Handle,
    stop: CancellationToken,
    _files: tempfile::TempDir,
    _stop: DropGuard,
}

impl World {
    /// Starts it, and waits until the router serves.
    pub async fn start(plan: Plan) -> Self {
        let stop = CancellationToken::new();
        let model_host = FakeModelHost::new(plan.model_host);
        let retriever = FakeRetriever::new(plan.retriever);
        let below = Below {
            model_host: serve_model_host(&model_host, &stop).await,
            retriever: serve_retriever(&retriever, &stop).await,
        };
        let files = tempfile::tempdir().expect("a folder");
        let mut options = options(&below, write_routes(&files, plan.routes.unwrap_or(ROUTES)));
        if let Some(ms) = plan.default_deadline_ms {
            options.server.default_deadline_ms = ms;
        }
        let hops = &mut options.hops;
        let caps = [
            (plan.generate_ms, &mut hops.generate_ms),
            (plan.analyze_ms, &mut hops.analyze_ms),
            (plan.search_ms, &mut hops.search_ms),
        ];
        for (given, cap) in caps {
            *cap = given.unwrap_or(*cap);
        }
        options.audit = plan.audit;
        options.cache = plan.cache;
        let mut handle = trivium_router::start(options, stop.clone()).await.expect("it starts");
        handle.ready().await.expect("it serves");
        let router = connect(handle.addr()).await;
        let audit = AuditServiceClient::new(channel(handle.addr()).await);
        let guard = stop.clone().drop_guard();
        Self { router, model_host, retriever, audit, handle, stop, _files: files, _stop: guard }
    }

    /// Stops everything in good order, and waits for the router.
    pub async fn stop(self) {
        self.stop.cancel();
        self.handle.stopped().await.expect("it stops");
    }

    /// Asks for an answer.
    pub async fn query(&self, options: QueryOptions) -> Result<QueryResponse, Error> {
        let request = QueryRequest { query: "where is it?".into(), options: Some(options), ..QueryRequest::default() };
        Ok(self.router.clone().query(request).await?.into_inner())
    }

    /// Asks for an answer to this text.
    pub async fn ask(&self, query: &str, options: QueryOptions) -> Result<QueryResponse, Error> {
        let request = QueryRequest { query: query.to_owned(), options: Some(options), ..QueryRequest::default() };
        Ok(self.router.clone().query(request).await?.into_inner())
    }

    /// Asks for an answer, and gives its events up to the end or the error.
    pub async fn events(&self, options: QueryOptions) -> (Vec<Event>, Option<Error>) {
        let mut events = Vec::new();
        let mut stream = match self.router.clone().query_stream(stream_request(options)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return (events, Some(status.into())),
        };
        loop {
            match stream.message().await {
                Ok(Some(message)) => events.extend(message.event),
                Ok(None) => return (events, None),
                Err(status) => return (events, Some(status.into())),
            }
        }
    }

    /// Asks for a decision.
    pub async fn route(&self) -> Result<RouteResponse, Error> {
        let request = RouteRequest { query: "where is it?".into(), ..RouteRequest::default() };
        Ok(self.router.clone().route(request).await?.into_inner())
    }
}

/// A streamed query with these options.
pub fn stream_request(options: QueryOptions) -> QueryStreamRequest {
    QueryStreamRequest { query: "where is it?".into(), options: Some(options), ..QueryStreamRequest::default() }
}

/// Where the services below listen.
pub struct Below {
    pub model_host: SocketAddr,
    pub retriever: SocketAddr,
}

/// The options of a router above `below`.
pub fn options(below: &Below, routes_file: std::path::PathBuf) -> Options {
    traces::install();
    let to = |addr: SocketAddr| ClientOptions::to(addr.port());
    Options {
        server: ServerOptions::at(0),
        model_host: to(below.model_host),
        retriever: to(below.retriever),
        routes_file: Some(routes_file),
        routes_poll_ms: 10,
        ..Options::default()
    }
}

/// Writes a policy file.
pub fn write_routes(files: &tempfile::TempDir, text: &str) -> std::path::PathBuf {
    let path = files.path().join("routes.toml");
    std::fs::write(&path, text).expect("written");
    path
}

/// A client of a router.
pub async fn connect(addr: SocketAddr) -> RouterServiceClient<Channel> {
    RouterServiceClient::new(channel(addr).await)
}

/// A connection to a server.
pub async fn channel(addr: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
    endpoint.connect().await.expect("it listens")
}

/// Serves a stand-in for the model host on a free port.
pub async fn serve_model_host(fake: &Arc<FakeModelHost>, stop: &CancellationToken) -> SocketAddr {
    serve_model_host_at(ServerOptions::at(0).addr, fake, stop).await
}

/// Serves a stand-in for the model host at an address.
pub async fn serve_model_host_at(addr: SocketAddr, fake: &Arc<FakeModelHost>, stop: &CancellationToken) -> SocketAddr {
    let service = ModelServiceServer::new(fake_model_host::Served(Arc::clone(fake)));
    serve(Service::ModelHost, addr, Routes::new(service), stop).await
}

/// Serves a stand-in for the retriever.
pub async fn serve_retriever(fake: &Arc<FakeRetriever>, stop: &CancellationToken) -> SocketAddr {
    let service = RetrieverServiceServer::new(fake_retriever::Served(Arc::clone(fake)));
    serve(Service::Retriever, ServerOptions::at(0).addr, Routes::new(service), stop).await
}

async fn serve(service: Service, addr: SocketAddr, routes: Routes, stop: &CancellationToken) -> SocketAddr {
    traces::install();
    let options = ServerOptions { addr, ..ServerOptions::at(0) };
    let server = Server::bind(service, &options).await.expect("a free port");
    server.serve(routes, &[], stop.clone()).await.addr()
}
