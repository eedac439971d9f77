//! One replica: its connection, the calls in flight, and how it has done.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::Instant};
use tokio_util::either::Either;
use tonic::transport::{Channel, Endpoint};

use super::{
    choose::Candidate,
    standing::{Standing, Verdict},
    target::HostPort,
};
use crate::tls::ClientTls;

/// One server that calls go to.
#[derive(Debug)]
pub(in crate::client) struct Replica {
    pub at: HostPort,
    channel: Channel,
    in_flight: AtomicUsize,
    is_connecting: Arc<AtomicBool>,
    standing: Mutex<Standing>,
}

impl Replica {
    /// A replica that is connected when it is first called. `endpoint` says how.
    pub fn new(at: HostPort, endpoint: &Endpoint, tls: Option<&Arc<ClientTls>>) -> Arc<Self> {
        let is_connecting = Arc::new(AtomicBool::new(false));
        let (to, tls, flag) = (at.clone(), tls.cloned(), Arc::clone(&is_connecting));
        let connector = tower::service_fn(move |_: Uri| {
            let connecting = Connecting::begin(&flag);
            connect(to.clone(), tls.clone(), connecting)
        });
        let channel = endpoint.connect_with_connector_lazy(connector);
        Arc::new(Self { at, channel, in_flight: AtomicUsize::new(0), is_connecting, standing: Mutex::default() })
    }

    /// How the replica looks to those who choose.
    pub fn candidate(&self, now: Instant, was_tried: bool) -> Candidate {
        Candidate {
            load: self.in_flight.load(Ordering::Relaxed),
            is_fit: self.standing.lock().unwrap_or_else(PoisonError::into_inner).is_fit(now),
            is_connecting: self.is_connecting.load(Ordering::Relaxed),
            was_tried,
        }
    }

    /// Takes a place on it for one call.
    pub fn take(self: Arc<Self>) -> Picked {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Picked(self)
    }

    /// Notes how a call went; gives whether the replica is newly taken out.
    pub fn note(&self, verdict: Verdict, share: f64) -> bool {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).note(verdict, Instant::now(), share)
    }
}

/// A call's place on its replica, until it ends.
#[derive(Debug)]
pub(in crate::client) struct Picked(Arc<Replica>);

impl Picked {
    /// The replica.
    pub fn replica(&self) -> &Arc<Replica> {
        &self.0
    }

    /// The way there.
    pub fn channel(&self) -> Channel {
        self.0.channel.clone()
    }
}

impl Drop for Picked {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says that a connection is being made, until it is there or has failed or was given up.
struct Connecting(Arc<AtomicBool>);

impl Connecting {
    fn begin(flag: &Arc<AtomicBool>) -> Self {
        flag.store(true, Ordering::Relaxed);
        Self(Arc::clone(flag))
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

type Stream = Either<TcpStream, tokio_rustls::client::TlsStream<TcpStream>>;

async fn connect(to: HostPort, tls: Option<Arc<ClientTls>>, _connecting: Connecting) -> io::Result<TokioIo<Stream>> {
    let stream = TcpStream::connect((to.bare_host(), to.port)).await?;
    // Small frames must not wait for each other.
    stream.set_nodelay(true)?;
    let stream = match tls {
        None => Either::Left(stream),
        Some(tls) => Either::Right(tls.connect(stream).await?),
    };
    Ok(TokioIo::new(stream))
}
