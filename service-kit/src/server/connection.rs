//! The accept loop, and the life of one connection.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::ServerOptions;

/// How long the loop waits after the system refused a connection, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The least calls that one connection may have open. A client opens as many as it likes, a hundred in general, before it
/// has read what the server allows, and those beyond would be reset by the protocol instead of refused with a hint.
const FEWEST_STREAMS: u32 = 256;

/// The connection that a request came on. It stands in the request's extensions, so that
/// services can be fair between callers without knowing who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connection(u64);

impl Connection {
    /// A number that no other connection of this process has; 0 outside any.
    pub fn number(self) -> u64 {
        self.0
    }

    fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Accepts until `shutdown`; then lets running calls finish, for at most `drain_ms`.
pub(super) async fn accept<S>(listener: TcpListener, stack: S, options: ServerOptions, shutdown: CancellationToken)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let places = Arc::new(Semaphore::new(options.max_connections));
    while let Some((stream, place)) = next(&listener, &places, &shutdown).await {
        let serving = serve(stream, stack.clone(), options.clone(), shutdown.clone());
        let cut = cut.clone();
        connections.spawn(async move {
            let _place = place;
            cut.run_until_cancelled(serving).await;
        });
    }
    // Nothing new may connect while the rest is drained.
    drop(listener);
    connections.close();
    let drain = Duration::from_millis(options.drain_ms);
    if timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            drain_ms = options.drain_ms,
            "calls were cut at the end of the drain"
        );
        cut.cancel();
        connections.wait().await;
    }
}

/// The next connection, or `None` once a stop is asked for.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    shutdown: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    let accepted = async {
        // The semaphore is never closed, so a permit always comes.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => return Some((stream, place)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(accepted).await.flatten()
}

async fn serve<S>(stream: TcpStream, stack: S, options: ServerOptions, shutdown: CancellationToken)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // Small frames must not wait for each other: Nagle's algorithm costs up to 40 ms a call.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection does not take TCP_NODELAY");
    }
    let connection = Connection::next();
    let service = TowerToHyperService::new(stack.map_request(move |request: Request<_>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(connection);
        request
    }));
    let mut builder = Builder::new(TokioExecutor::new()).http2_only();
    let probe = Duration::from_millis(options.keepalive_ms);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(probe)
        .keep_alive_timeout(probe)
        .adaptive_window(true)
        .max_concurrent_streams(u32::try_from(options.max_concurrent_requests).unwrap_or(u32::MAX).max(FEWEST_STREAMS));
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        // Peers that go away in the middle are everyday life.
        tracing::debug!(error = %error, "a connection ended with an error");
    }
}
