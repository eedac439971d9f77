//! `trivium serve`: one service, as it runs in a container.

use std::{net::SocketAddr, path::PathBuf};

use clap::ValueEnum;
use tokio_util::sync::CancellationToken;
use trivium_service_kit::{Service, telemetry};

use super::services::{check_models, model_host_failed, retriever_failed, router_failed, shutdown_token};
use crate::{
    output,
    settings::{Flags, Settings},
};

/// Arguments of `trivium serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which service
    service: ServiceArg,
    /// Configuration file
    #[arg(long, env = "TRIVIUM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where it listens [default: 127.0.0.1, port 7700, 7701 or 7702]
    #[arg(long, value_name = "HOST:PORT")]
    addr: Option<SocketAddr>,
    /// Folder of the collections, and of models if it has a folder of that name
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// A service, as it is named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ServiceArg {
    /// Decides roads and gives answers
    Router,
    /// Keeps collections and searches them
    Retriever,
    /// Runs models
    ModelHost,
}

impl From<ServiceArg> for Service {
    fn from(service: ServiceArg) -> Self {
        match service {
            ServiceArg::Router => Self::Router,
            ServiceArg::Retriever => Self::Retriever,
            ServiceArg::ModelHost => Self::ModelHost,
        }
    }
}

/// Runs one service until it is asked to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let addr_of = |service: ServiceArg| args.addr.filter(|_| args.service == service);
    let flags = Flags {
        data: args.data.clone(),
        router_addr: addr_of(ServiceArg::Router),
        retriever_addr: addr_of(ServiceArg::Retriever),
        model_host_addr: addr_of(ServiceArg::ModelHost),
    };
    let settings = Settings::load(args.config.as_deref(), &flags)?;
    let telemetry = telemetry::init(&[args.service.into()], &settings.telemetry)?;
    let shutdown = shutdown_token();
    let outcome = match args.service {
        ServiceArg::Router => router(settings, shutdown).await,
        ServiceArg::Retriever => retriever(settings, shutdown).await,
        ServiceArg::ModelHost => model_host(settings, shutdown).await,
    };
    super::flush(telemetry).await?;
    outcome
}

async fn router(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let mut router = trivium_router::start(settings.router, shutdown.clone()).await.map_err(router_failed)?;
    let ready = tokio::select! {
        ready = router.ready() => ready.map_err(router_failed),
        () = shutdown.cancelled() => Ok(()),
    };
    if ready.is_ok() && !shutdown.is_cancelled() {
        announce(Service::Router, router.addr())?;
    }
    if ready.is_err() {
        shutdown.cancel();
    }
    router.stopped().await.map_err(router_failed)?;
    ready
}

async fn retriever(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    let retriever = trivium_retriever::start(&settings.retriever, shutdown).await.map_err(retriever_failed)?;
    announce(Service::Retriever, retriever.addr())?;
    retriever.stopped().await;
    Ok(())
}

async fn model_host(settings: Settings, shutdown: CancellationToken) -> anyhow::Result<()> {
    check_models(&settings.model_host).await?;
    let host = trivium_model_host::start(settings.model_host, shutdown).await.map_err(model_host_failed)?;
    announce(Service::ModelHost, host.addr())?;
    host.stopped().await;
    Ok(())
}

fn announce(service: Service, addr: SocketAddr) -> anyhow::Result<()> {
    Ok(output::line(format!("ready {service}={addr}"))?)
}
