//! `trivium up`: all three services in one process, still talking gRPC.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use tokio_util::sync::CancellationToken;
use trivium_service_kit::{
    ClientOptions, ConfigError, ServerOptions, Service,
    telemetry::{self},
};

use super::services::{check_models, model_host_failed, retriever_failed, router_failed, shutdown_token};
use crate::{
    output,
    settings::{Flags, Settings},
};

/// Arguments of `trivium up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of the collections, and of models if it has a folder of that name [default: the user's data folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file
    #[arg(long, env = "TRIVIUM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the router listens [default: 127.0.0.1:7700]
    #[arg(long, value_name = "HOST:PORT")]
    router_addr: Option<SocketAddr>,
    /// Where the retriever listens [default: 127.0.0.1:7701]
    #[arg(long, value_name = "HOST:PORT")]
    retriever_addr: Option<SocketAddr>,
    /// Where the model host listens [default: 127.0.0.1:7702]
    #[arg(long, value_name = "HOST:PORT")]
    model_host_addr: Option<SocketAddr>,
}

/// Starts the services, each after those it calls, and runs until asked to stop.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let flags = Flags {
        data: args.data,
        router_addr: args.router_addr,
        retriever_addr: args.retriever_addr,
        model_host_addr: args.model_host_addr,
    };
    let mut settings = Settings::load(args.config.as_deref(), &flags)?;
    settings.record_beside_data();
    check_hops(&settings)?;
    let services = [Service::Router, Service::Retriever, Service::ModelHost];
    let telemetry = telemetry::init(&services, &settings.telemetry)?;
    let outcome = Box::pin(serve(settings)).await;
    super::flush(telemetry).await?;
    outcome
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    check_models(&settings.model_host).await?;
    let asked = shutdown_token();
    let mut system = System::start(settings).await?;
    let ready = tokio::select! {
        ready = system.router.ready() => ready.map_err(router_failed),
        () = asked.cancelled() => Ok(()),
    };
    if ready.is_ok() && !asked.is_cancelled() {
        output::line(system.ready_line())?;
        asked.cancelled().await;
    }
    system.stop().await;
    ready
}

/// The running services, each with the token that stops it.
struct System {
    router: trivium_router::Handle,
    retriever: trivium_retriever::Handle,
    model_host: trivium_service_kit::Handle,
    stop: [CancellationToken; 3],
}

impl System {
    /// Starts the model host, then the retriever, then the router, each with the
    /// address that the one before really has.
    async fn start(mut settings: Settings) -> anyhow::Result<Self> {
        // The services of one process call each other over loopback, and say whom they work for. The router is called from
        // outside alone.
        for server in [&mut settings.retriever.server, &mut settings.model_host.server] {
            server.auth.iter_mut().for_each(|auth| auth.trust_loopback = true);
        }
        let stop = [CancellationToken::new(), CancellationToken::new(), CancellationToken::new()];
        let [stop_router, stop_retriever, stop_model_host] = stop.clone();
        let model_host =
            trivium_model_host::start(settings.model_host, stop_model_host).await.map_err(model_host_failed)?;
        reach(&mut settings.retriever.model_host, model_host.addr());
        let retriever =
            trivium_retriever::start(&settings.retriever, stop_retriever).await.map_err(retriever_failed)?;
        reach(&mut settings.router.model_host, model_host.addr());
        reach(&mut settings.router.retriever, retriever.addr());
        let router = trivium_router::start(settings.router, stop_router).await.map_err(router_failed)?;
        Ok(Self { router, retriever, model_host, stop })
    }

    fn ready_line(&self) -> String {
        let (router, retriever) = (self.router.addr(), self.retriever.addr());
        format!("ready router={router} retriever={retriever} model-host={}", self.model_host.addr())
    }

    /// Stops them in the order in which they call each other, so that calls that run can finish.
    async fn stop(self) {
        let [stop_router, stop_retriever, stop_model_host] = self.stop;
        stop_router.cancel();
        if let Err(error) = self.router.stopped().await {
            tracing::error!(%error, "the router ended abnormally");
        }
        stop_retriever.cancel();
        self.retriever.stopped().await;
        stop_model_host.cancel();
        self.model_host.stopped().await;
    }
}

/// Checks that both ends of each hop between the services say the same of certificates. Where the services are apart, either
/// end may be configured elsewhere; here both are known.
///
/// # Errors
/// Names the key that is missing.
fn check_hops(settings: &Settings) -> Result<(), ConfigError> {
    let Settings { router, retriever, model_host, .. } = settings;
    check_hop(("router.retriever.tls", &router.retriever), ("retriever.server.tls", &retriever.server))?;
    check_hop(("router.model_host.tls", &router.model_host), ("model_host.server.tls", &model_host.server))?;
    check_hop(("retriever.model_host.tls", &retriever.model_host), ("model_host.server.tls", &model_host.server))
}

fn check_hop(
    (client_key, client): (&str, &ClientOptions),
    (server_key, server): (&str, &ServerOptions),
) -> Result<(), ConfigError> {
    let missing = |key: String, why: String| Err(ConfigError::new(key, "", why));
    match (&client.tls, &server.tls) {
        (None, None) => Ok(()),
        (None, Some(_)) => missing(client_key.to_owned(), format!("must be set, because {server_key} is")),
        (Some(_), None) => missing(server_key.to_owned(), format!("must be set, because {client_key} is")),
        (Some(client), Some(server)) => {
            let asks = server.client_ca.is_some() && server.require_client_certificate;
            if asks && client.certificate.is_none() {
                let why = format!("must be set, because {server_key}.client_ca asks for it");
                return missing(format!("{client_key}.certificate"), why);
            }
            Ok(())
        }
    }
}

/// Makes a client call the service at that address, securely where it is configured so.
fn reach(client: &mut ClientOptions, addr: SocketAddr) {
    let scheme = if client.tls.is_some() { "https" } else { "http" };
    client.endpoint = format!("{scheme}://{}", here(addr));
}

/// The address as this process reaches it: a service that listens on every interface is reached on loopback.
fn here(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use trivium_service_kit::{ClientTlsOptions, ServerTlsOptions};

    use super::*;

    #[test]
    fn both_ends_of_a_hop_say_the_same_of_certificates() {
        let trusts = ClientTlsOptions::default;
        let shows = ClientTlsOptions { certificate: Some("own.pem".into()), ..trusts() };
        let asks = || ServerTlsOptions { client_ca: Some("ca.pem".into()), ..ServerTlsOptions::default() };
        let takes_any = ServerTlsOptions { require_client_certificate: false, ..asks() };
        let table = [
            (None, None, None),
            (Some(trusts()), Some(ServerTlsOptions::default()), None),
            (Some(trusts()), Some(takes_any), None),
            (Some(shows), Some(asks()), None),
            (Some(trusts()), Some(asks()), Some("client.tls.certificate")),
            (None, Some(asks()), Some("client.tls")),
            (Some(trusts()), None, Some("server.tls")),
        ];
        for (client, server, expected) in table {
            let client = ClientOptions { tls: client, ..ClientOptions::default() };
            let server = ServerOptions { tls: server, ..ServerOptions::default() };
            let found = check_hop(("client.tls", &client), ("server.tls", &server)).err().map(|error| error.key);
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn services_reach_each_other_on_loopback() {
        let table = [
            ("127.0.0.1:7700", "http://127.0.0.1:7700"),
            ("0.0.0.0:7700", "http://127.0.0.1:7700"),
            ("[::]:7700", "http://[::1]:7700"),
            ("10.0.0.7:1", "http://10.0.0.7:1"),
        ];
        for (addr, expected) in table {
            let mut client = ClientOptions::default();
            reach(&mut client, addr.parse().expect("an address"));
            assert_eq!(client.endpoint, expected);
        }
    }
}
