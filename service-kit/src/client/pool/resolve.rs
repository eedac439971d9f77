//! What a name resolves to, asked again and again: replicas come and go.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{net::lookup_host, time::sleep};

use super::{Inner, target::HostPort};

/// The pause after a look-up that failed while no replica is known at all.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// The most addresses of a name that are used.
const MAX_REPLICAS: usize = 256;

/// Where addresses come from.
pub(super) trait Resolve: Send + Sync + 'static {
    /// The addresses that a name has now.
    fn resolve(&self, name: &HostPort) -> impl Future<Output = io::Result<Vec<HostPort>>> + Send;
}

/// The system's resolver.
pub(super) struct System;

impl Resolve for System {
    async fn resolve(&self, name: &HostPort) -> io::Result<Vec<HostPort>> {
        let mut found: Vec<_> = lookup_host((name.bare_host(), name.port)).await?.collect();
        // Resolvers turn the order round; the same addresses are the same answer.
        found.sort_unstable();
        found.dedup();
        let replica = |addr: std::net::SocketAddr| match addr {
            std::net::SocketAddr::V4(addr) => HostPort { host: addr.ip().to_string(), port: addr.port() },
            std::net::SocketAddr::V6(addr) => HostPort { host: format!("[{}]", addr.ip()), port: addr.port() },
        };
        Ok(found.into_iter().take(MAX_REPLICAS).map(replica).collect())
    }
}

/// Follows a name for as long as the pool is used.
pub(super) async fn follow(pool: Weak<Inner>, resolver: impl Resolve, name: HostPort, every: Duration) {
    loop {
        let answer = resolver.resolve(&name).await;
        let Some(inner) = pool.upgrade() else { return };
        let is_known = match answer {
            Ok(found) if !found.is_empty() => {
                inner.update(found);
                true
            }
            // A name that has no address for a moment is no reason to let go of replicas that answer.
            Ok(_) => inner.failed("it has no address".to_owned()),
            Err(error) => inner.failed(error.to_string()),
        };
        let pause = if is_known { every } else { every.min(IMPATIENCE) };
        let pause = pause.mul_f64(0.9 + 0.2 * inner.dice.share());
        let news = Arc::clone(&inner.wanted);
        drop(inner);
        // Whoever finds a replica gone asks for news, but a name server must not be asked without end.
        sleep(pause.min(IMPATIENCE)).await;
        tokio::select! {
            () = sleep(pause.saturating_sub(IMPATIENCE)) => {}
            () = news.notified() => {}
        }
    }
}
