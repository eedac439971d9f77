//! Health checks in plain, on a port of their own: those who probe have no certificates.

use std::{convert::Infallible, net::SocketAddr};

use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService, service::Routes};

use super::{ServerOptions, connection};

/// Connections of probes at once. Those who probe are few, and the port needs no certificate.
const MAX_CONNECTIONS: usize = 16;

/// Answers health checks on a listener of their own.
pub(super) struct Probes {
    listener: TcpListener,
    routes: Routes,
}

impl Probes {
    pub fn new<S>(listener: TcpListener, health: S) -> Self
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self { listener, routes: Routes::new(health).prepare() }
    }

    pub fn addr(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Answers until `done`.
    pub async fn answer(self, done: CancellationToken) {
        // Nothing is drained here: a probe that is cut off is made again.
        let options = ServerOptions { max_connections: MAX_CONNECTIONS, drain_ms: 0, ..ServerOptions::default() };
        let routes = tower::ServiceBuilder::new().map_request(|request: Request<Body>| request).service(self.routes);
        connection::accept(self.listener, None, routes, options, done).await;
    }
}
