//! Starting and stopping the service.

use crate::clients::ModelHost;
use crate::collection::{Catalog, CollectionError};
use crate::embedder::Embedder;
use crate::failpoint;
use crate::gauges;
use crate::grpc;
use crate::options::Options;
use crate::service::Retriever;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use trivium_service_kit::server::{HealthHandle, ServeError};
use trivium_service_kit::{ConfigError, Server, Service};

/// Why the retriever did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration will not do.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be had.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Collections(#[from] CollectionError),
}

/// A retriever that runs.
pub struct Handle {
    server: trivium_service_kit::Handle,
    retriever: Arc<Retriever>,
}

impl Handle {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    /// What health checks are told.
    pub fn health(&self) -> HealthHandle {
        self.server.health()
    }

    /// Waits until a stop was asked for, every call has ended or was cut, and every write that was begun is finished.
    pub async fn stopped(self) {
        self.server.stopped().await;
        self.retriever.close().await;
    }
}

/// Starts the retriever, with the encoders of the model host that the options name.
///
/// # Errors
/// Bad options, an address in use, a data folder that another process holds or that cannot be read.
pub async fn start(options: &Options, shutdown: CancellationToken) -> Result<Handle, StartError> {
    options.validate()?;
    let embedder = ModelHost::connect(&options.model_host).map_err(|error| error.within("model_host"))?;
    start_with(options, Arc::new(embedder), shutdown).await
}

/// Starts the retriever with encoders of another kind.
///
/// # Errors
/// As [`start`].
pub async fn start_with(
    options: &Options,
    embedder: Arc<dyn Embedder>,
    shutdown: CancellationToken,
) -> Result<Handle, StartError> {
    options.validate()?;
    failpoint::arm_from_environment()?;
    // The port first: it fails at once, while opening large collections takes a moment.
    let server = Server::bind(Service::Retriever, &options.server).await?;
    let catalog = Catalog::open(&options.data_dir, options.collections()).await?;
    let retriever = Arc::new(Retriever::new(catalog, embedder, options.limits()));
    retriever.resume();
    gauges::observe(&retriever);
    let (routes, name) = grpc::routes(retriever.clone(), options.server.max_message_bytes);
    let server = server.serve(routes, &[name], shutdown).await;
    server.set_serving(true).await;
    Ok(Handle { server, retriever })
}
