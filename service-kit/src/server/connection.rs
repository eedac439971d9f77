//! The accept loop, and the life of one connection.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
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
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::ServerOptions;
use crate::tls::{Peer, ServerTls};

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
pub(super) async fn accept<S>(
    listener: TcpListener,
    tls: Option<Arc<ServerTls>>,
    stack: S,
    options: ServerOptions,
    shutdown: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    let places = Arc::new(Semaphore::new(options.max_connections));
    let refused = Arc::new(Refused::default());
    while let Some((stream, from, place)) = next(&listener, &places, &shutdown).await {
        let served = Served { stack: stack.clone(), options: options.clone(), shutdown: shutdown.clone() };
        let serving = welcome(stream, from, tls.clone(), Arc::clone(&refused), served);
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
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        // The semaphore is never closed, so a permit always comes.
        let place = Arc::clone(places).acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, from)) => return Some((stream, from, place)),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    shutdown.run_until_cancelled(accepted).await.flatten()
}

/// Shakes hands where that is asked for, and serves.
async fn welcome<S>(
    stream: TcpStream,
    from: SocketAddr,
    tls: Option<Arc<ServerTls>>,
    refused: Arc<Refused>,
    served: Served<S>,
) where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    // Small frames must not wait for each other: Nagle's algorithm costs up to 40 ms a call.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection does not take TCP_NODELAY");
    }
    let Some(tls) = tls else {
        return served.serve(stream, Peer::new(Vec::new(), from.ip().is_loopback())).await;
    };
    let shutdown = served.shutdown.clone();
    match shutdown.run_until_cancelled(tls.accept(stream, from)).await {
        Some(Ok((stream, peer))) => served.serve(stream, peer).await,
        Some(Err(error)) => refused.tell(from, &error),
        None => {}
    }
}

/// Tells of connections that were refused, at most once a second: whoever wants to fill the log must not be able to.
#[derive(Default)]
struct Refused(Mutex<(Option<Instant>, u64)>);

impl Refused {
    fn tell(&self, from: SocketAddr, error: &std::io::Error) {
        let untold = {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if last.0.is_some_and(|at| at.elapsed() < Duration::from_secs(1)) {
                last.1 += 1;
                return;
            }
            let untold = last.1;
            *last = (Some(Instant::now()), 0);
            untold
        };
        tracing::warn!(peer = %from, %error, untold, "a connection was refused at the handshake");
    }
}

/// What every connection is served with.
struct Served<S> {
    stack: S,
    options: ServerOptions,
    shutdown: CancellationToken,
}

impl<S> Served<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer) {
        let Self { stack, options, shutdown } = self;
        let connection = Connection::next();
        let service = TowerToHyperService::new(stack.map_request(move |request: Request<_>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(connection);
            request.extensions_mut().insert(peer.clone());
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
            .max_concurrent_streams(
                u32::try_from(options.max_concurrent_requests).unwrap_or(u32::MAX).max(FEWEST_STREAMS),
            );
        let served = builder.serve_connection(TokioIo::new(stream), service);
        let mut served = pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = until_stop_or_age(&shutdown, &options, connection) => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            // Peers that go away in the middle are everyday life.
            tracing::debug!(error = %error, "a connection ended with an error");
        }
    }
}

/// Waits until a connection should take no new calls: a stop was asked for, or it is old.
async fn until_stop_or_age(shutdown: &CancellationToken, options: &ServerOptions, connection: Connection) {
    match age(options.max_connection_age_ms, connection.number()) {
        Some(age) => tokio::select! { () = shutdown.cancelled() => {}, () = sleep(age) => {} },
        None => shutdown.cancelled().await,
    }
}

/// How old a connection may grow: what is configured, give or take a tenth, as gRFC A9 has it. Connections that were
/// opened together must not all come back together. Numbers that follow each other are spread by the golden ratio.
fn age(max_ms: u64, connection: u64) -> Option<Duration> {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let share = (connection as f64 * GOLDEN).fract();
    (max_ms > 0).then(|| Duration::from_millis(max_ms).mul_f64(0.9 + 0.2 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_grow_differently_old() {
        assert_eq!(age(0, 1), None);
        let ages: Vec<Duration> = (1..=100).filter_map(|number| age(10_000, number)).collect();
        let within = Duration::from_millis(9_000)..=Duration::from_millis(11_000);
        assert!(ages.len() == 100 && ages.iter().all(|age| within.contains(age)), "{ages:?}");
        for tenth in 0..10 {
            let from = Duration::from_millis(9_000 + 200 * tenth);
            let here = ages.iter().filter(|age| (from..from + Duration::from_millis(200)).contains(age)).count();
            assert!((5..=15).contains(&here), "{here} of a hundred within a tenth of the range");
        }
    }
}
