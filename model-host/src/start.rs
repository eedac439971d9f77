//! Starts the service.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use trivium_service_kit::server::ServeError;
use trivium_service_kit::{ConfigError, Handle, Server, Service};

use crate::grpc::{SERVICE_NAME, routes};
use crate::models::Models;
use crate::options::Options;
use crate::service::ModelHost;

/// Why the model host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be had.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The thread that loads models died.
    #[error("the models could not be loaded: {0}")]
    Load(#[from] tokio::task::JoinError),
    /// The system gives no threads.
    #[error("the threads of the engine cannot be started: {0}")]
    Threads(#[from] std::io::Error),
}

/// Starts the model host, and returns when it serves. A bundle that is absent or damaged
/// does not keep it from starting: requests that need it say what to do.
///
/// # Errors
/// When the configuration is wrong or the address is in use.
pub async fn start(options: Options, shutdown: CancellationToken) -> Result<Handle, StartError> {
    options.validate()?;
    let server = Server::bind(Service::ModelHost, &options.server).await?;
    let loading = options.clone();
    let models = tokio::task::spawn_blocking(move || Models::load(&loading)).await??;
    let host = Arc::new(ModelHost::new(models, &options)?);
    host.observe();
    let handle = server.serve(routes(host, options.server.max_message_bytes), &[SERVICE_NAME], shutdown).await;
    handle.set_serving(true).await;
    Ok(handle)
}
