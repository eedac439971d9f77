//! Serving gRPC: bind, serve through the layers, drain.
//!
//! The accept loop is our own and not tonic's, because tonic's shutdown waits
//! for connections without end, and its time-out answers CANCELLED.

mod connection;
mod probes;

pub use self::connection::Connection;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::ServiceBuilder;

use crate::{
    ConfigError, Service,
    auth::{AuthLayer, AuthOptions},
    config::at_least,
    layer::{
        admission::AdmissionLayer, catalogue::CatalogueLayer, deadline::DeadlineLayer, measure::MeasureLayer,
        trace::TraceLayer,
    },
    tls::{ServerTls, ServerTlsOptions},
};

use self::probes::Probes;

/// How a server listens and what it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerOptions {
    /// The address. Port 0 takes a free one.
    pub addr: SocketAddr,
    /// The largest message it takes and sends, in bytes.
    pub max_message_bytes: usize,
    /// Calls that run at once, over all connections; the rest are refused with a retry hint.
    pub max_concurrent_requests: usize,
    /// The least that the measured limit of queries and searches at once may be.
    pub min_concurrent_requests: usize,
    /// How long such a call may take, in percent of what it takes on an idle server, before no more are let in at once;
    /// above 100. At 0 nothing is measured, and `max_concurrent_requests` alone holds.
    pub max_slowdown_percent: u32,
    /// Connections at once; the rest wait in the kernel's queue.
    pub max_connections: usize,
    /// The budget of a call whose caller sets none, in milliseconds.
    pub default_deadline_ms: u64,
    /// How often an idle connection is probed, in milliseconds. One that does not answer in that time is closed.
    pub keepalive_ms: u64,
    /// How long running calls may take after a stop is asked for, in milliseconds; then they are cut.
    pub drain_ms: u64,
    /// After how long a connection takes no new calls, in milliseconds, give or take a tenth; 0 for never. Its calls
    /// finish, and its client connects again: to another replica, perhaps, and with the certificates of that day.
    pub max_connection_age_ms: u64,
    /// The server's certificate, and which clients it takes. Without it the server speaks in plain.
    pub tls: Option<ServerTlsOptions>,
    /// What callers must show, and how much they may ask for. Without it everybody may call.
    pub auth: Option<AuthOptions>,
    /// A second address that answers health checks in plain and nothing else, for probes that have no certificate.
    pub health_addr: Option<SocketAddr>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::at(0)
    }
}

impl ServerOptions {
    /// The defaults, on loopback at `port`.
    pub fn at(port: u16) -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], port)),
            max_message_bytes: 4 << 20,
            max_concurrent_requests: 1_024,
            min_concurrent_requests: 4,
            max_slowdown_percent: 0,
            max_connections: 1_024,
            default_deadline_ms: 30_000,
            keepalive_ms: 20_000,
            drain_ms: 10_000,
            max_connection_age_ms: 0,
            tls: None,
            auth: None,
            health_addr: None,
        }
    }

    /// Checks every value.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        at_least("server.max_message_bytes", self.max_message_bytes, 64 << 10)?;
        at_least("server.max_concurrent_requests", self.max_concurrent_requests, 1)?;
        at_least("server.min_concurrent_requests", self.min_concurrent_requests, 1)?;
        if self.max_slowdown_percent != 0 {
            at_least("server.max_slowdown_percent", self.max_slowdown_percent, 101)?;
        }
        at_least("server.max_connections", self.max_connections, 1)?;
        at_least("server.default_deadline_ms", self.default_deadline_ms, 1)?;
        at_least("server.keepalive_ms", self.keepalive_ms, 100)?;
        if self.max_connection_age_ms != 0 {
            at_least("server.max_connection_age_ms", self.max_connection_age_ms, 1_000)?;
        }
        self.tls.as_ref().map_or(Ok(()), ServerTlsOptions::validate).map_err(|error| error.within("server.tls"))?;
        self.auth.as_ref().map_or(Ok(()), AuthOptions::validate).map_err(|error| error.within("server.auth"))
    }
}

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("{service} cannot listen on {addr}: {cause}; choose another address, or stop what uses it")]
    Bind {
        /// Whose server.
        service: Service,
        /// The address.
        addr: SocketAddr,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Its certificates or keys cannot be used.
    #[error("{0}")]
    Files(#[source] ConfigError),
}

/// A server that listens and does not serve yet.
pub struct Server {
    service: Service,
    options: ServerOptions,
    listener: TcpListener,
    addr: SocketAddr,
    health: Option<TcpListener>,
    tls: Option<Arc<ServerTls>>,
    auth: AuthLayer,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("service", &self.service).field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl Server {
    /// Reads the certificates, and takes the address.
    ///
    /// # Errors
    /// When the certificates cannot be used, or the address is in use or not allowed.
    pub async fn bind(service: Service, options: &ServerOptions) -> Result<Self, ServeError> {
        let tls = options.tls.as_ref().map(ServerTls::new).transpose();
        let tls = tls.map_err(|error| ServeError::Files(error.within("server.tls")))?.map(Arc::new);
        let auth = AuthLayer::new(options.auth.as_ref());
        let auth = auth.map_err(|error| ServeError::Files(error.within("server.auth")))?;
        let (listener, addr) = listen(service, options.addr).await?;
        let health = match options.health_addr {
            Some(addr) => Some(listen(service, addr).await?.0),
            None => None,
        };
        Ok(Self { service, options: options.clone(), listener, addr, health, tls, auth })
    }

    /// The address, its port filled in.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves `routes`, with standard health and reflection beside them, until
    /// `shutdown`. Health says NOT_SERVING until [`Handle::set_serving`].
    /// `names` are the full names of the gRPC services, for health checks by name.
    pub async fn serve(self, routes: Routes, names: &[&'static str], shutdown: CancellationToken) -> Handle {
        let (reporter, health) = tonic_health::server::health_reporter();
        let probes = self.health.map(|listener| Probes::new(listener, health.clone()));
        let health_addr = probes.as_ref().and_then(Probes::addr);
        let routes = routes.add_service(health).add_service(reflection()).prepare();
        let stack = ServiceBuilder::new()
            .layer(TraceLayer::new(self.service))
            .layer(MeasureLayer::new(self.service))
            .layer(CatalogueLayer)
            .layer(self.auth)
            .layer(AdmissionLayer::new(self.service, &self.options))
            .layer(DeadlineLayer::new(Duration::from_millis(self.options.default_deadline_ms)))
            .map_request(|request: http::Request<Body>| request)
            .service(routes);
        let names = std::iter::once("").chain(names.iter().copied()).collect();
        let handle = HealthHandle { reporter, names };
        // Before the first connection: what a reporter says of itself at first is SERVING.
        handle.set(false).await;
        let draining = handle.clone();
        let addr = self.addr;
        let accepting = connection::accept(self.listener, self.tls, stack, self.options, shutdown.clone());
        let task = tokio::spawn(async move {
            let announce = async {
                shutdown.cancelled().await;
                draining.set(false).await;
            };
            let drained = CancellationToken::new();
            let serving = async {
                tokio::join!(accepting, announce);
                drained.cancel();
            };
            // Probes are answered until the last call has ended: a service that drains is not a dead one.
            tokio::join!(serving, async {
                if let Some(probes) = probes {
                    probes.answer(drained.clone()).await;
                }
            });
        });
        Handle { addr, health_addr, health: handle, task }
    }
}

async fn listen(service: Service, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |cause| ServeError::Bind { service, addr, cause };
    let listener = TcpListener::bind(addr).await.map_err(failed)?;
    let addr = listener.local_addr().map_err(failed)?;
    Ok((listener, addr))
}

/// A server that runs.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    health_addr: Option<SocketAddr>,
    health: HealthHandle,
    task: JoinHandle<()>,
}

impl Handle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Where it answers health checks in plain, if it does so elsewhere.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health_addr
    }

    /// What health checks are told.
    pub async fn set_serving(&self, serving: bool) {
        self.health.set(serving).await;
    }

    /// A handle on the health status that outlives this one.
    pub fn health(&self) -> HealthHandle {
        self.health.clone()
    }

    /// Waits until a stop was asked for and every call has ended or was cut.
    pub async fn stopped(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the server ended abnormally");
        }
    }
}

/// What health checks are told.
#[derive(Clone, Debug)]
pub struct HealthHandle {
    reporter: HealthReporter,
    names: Vec<&'static str>,
}

impl HealthHandle {
    /// Sets the status of the whole server and of each of its services.
    pub async fn set(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for name in &self.names {
            self.reporter.set_service_status(*name, status).await;
        }
    }
}

fn reflection()
-> tonic_reflection::server::v1::ServerReflectionServer<impl tonic_reflection::server::v1::ServerReflection> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(trivium_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("the descriptor sets are compiled in, and a test reads them")
}
