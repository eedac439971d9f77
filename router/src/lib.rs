//! The router: it decides which road a query takes, and takes it.
//!
//! A query's intent and vector come from the model host in one call; the
//! [`policy`] turns the intent into a plan; the plan runs as one stream of
//! events. The router touches no index and no weight.

#![forbid(unsafe_code)]

mod audit;
mod cache;
mod clients;
mod decision;
mod degrade;
mod execute;
mod grpc;
mod options;
pub mod policy;
mod readiness;
mod request;
mod service;
mod source;
mod trace;

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use trivium_service_kit::{
    ConfigError, Server,
    server::{self, ServeError},
};

pub use audit::AuditOptions;
pub use cache::CacheOptions;
pub use options::{HopOptions, Options};
pub use source::SourceError;

use self::{
    audit::Audits,
    cache::Cache,
    execute::Engine,
    policy::Policy,
    readiness::Gate,
    service::{Shared, Tenants},
    source::Source,
};

/// Why a router does not serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is wrong. Keys are relative to the router's section.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The policy cannot be read, is wrong, or does not fit the intent model.
    #[error(transparent)]
    Policy(#[from] SourceError),
    /// The address cannot be had.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// It was stopped before it served.
    #[error("the router was stopped before it served")]
    Stopped,
}

impl Error {
    /// Whether another configuration would help.
    pub fn is_configuration(&self) -> bool {
        matches!(self, Self::Config(_) | Self::Policy(_))
    }
}

/// Starts a router: it listens when this returns, and serves once it knows that
/// its policy fits the model host's intent model ([`Handle::ready`]).
///
/// # Errors
/// When an option or the policy is wrong, or the address cannot be had.
pub async fn start(options: Options, shutdown: CancellationToken) -> Result<Handle, Error> {
    options.validate()?;
    let source = Source::new(&options);
    let policy = Arc::new(ArcSwap::from_pointee(source.read().await?));
    let engine = Arc::new(Engine::connect(&options)?);
    let audits = Audits::open(&options.audit, &options.collections)?;
    let server = Server::bind(trivium_service_kit::Service::Router, &options.server).await?;
    let (opener, gate) = watch::channel(Gate::closed());
    let service = Shared {
        engine: Arc::clone(&engine),
        policy: Arc::clone(&policy),
        collections: options.collections.clone().into(),
        gate: gate.clone(),
        cache: Cache::new(&options.cache),
    };
    let service = Tenants::new(service, audits.clone());
    let routes = grpc::routes(service, options.server.max_message_bytes);
    let server = server.serve(routes, &grpc::NAMES, shutdown.clone()).await;
    let health = server.health();
    let keeper = Keeper { engine, policy, source: source.clone(), opener, health };
    tokio::spawn(async move { shutdown.run_until_cancelled(keeper.run()).await });
    Ok(Handle { server, source, gate, audits })
}

/// What goes on beside the queries: opening the gate, and following the policy file.
struct Keeper {
    engine: Arc<Engine>,
    policy: Arc<ArcSwap<Policy>>,
    source: Source,
    opener: watch::Sender<Gate>,
    health: server::HealthHandle,
}

impl Keeper {
    async fn run(self) {
        let first = self.policy.load_full();
        let opened = readiness::open(&self.engine, &first, &self.opener, &self.health).await;
        let Some(labels) = opened else { return };
        tokio::join!(
            readiness::warn_of_missing_collections(&self.engine, &first),
            self.source.follow(&self.engine, &self.policy, labels)
        );
    }
}

/// A router that runs.
#[derive(Debug)]
pub struct Handle {
    server: server::Handle,
    source: Source,
    gate: watch::Receiver<Gate>,
    audits: Audits,
}

impl Handle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// Waits until queries are taken.
    ///
    /// # Errors
    /// When they never will be: the policy does not fit the intent model, or the
    /// router was stopped.
    pub async fn ready(&mut self) -> Result<(), Error> {
        let settled = |gate: &Gate| !matches!(gate, Gate::Waiting(_));
        match self.gate.wait_for(settled).await.as_deref() {
            Ok(Gate::Refused(error)) => Err(self.source.wrong(error.clone()).into()),
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Stopped),
        }
    }

    /// Waits until a stop was asked for, every call has ended or was cut, and their records are on the disk.
    ///
    /// # Errors
    /// None today; the services share one shape.
    pub async fn stopped(self) -> Result<(), Error> {
        self.server.stopped().await;
        // Every call has handed in its record by now, those that were cut as well.
        self.audits.close().await;
        Ok(())
    }
}
