//! The meter providers of a process: one for each service, read by the exporters that are asked for.

use std::{collections::HashSet, net::SocketAddr};

use opentelemetry::{Key, metrics::MeterProvider};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::Registry;

use super::{install, prometheus::Endpoint};
use crate::{
    ConfigError, Service,
    telemetry::{exports, resource},
};

/// The meter providers of a process, and what reads them.
pub(in crate::telemetry) struct Meters {
    providers: Vec<SdkMeterProvider>,
    endpoint: Option<Endpoint>,
}

impl Meters {
    /// Makes the instruments of `services` count. `prometheus` is where they can be scraped.
    ///
    /// # Errors
    /// When an exporter cannot be made, or the address cannot be had.
    pub fn start(services: &[Service], prometheus: Option<SocketAddr>) -> Result<Self, ConfigError> {
        let mut providers = Vec::new();
        let mut registries = Vec::new();
        for service in services {
            let registry = prometheus.is_some().then(Registry::new);
            let provider = provider(*service, services.len() == 1, registry.as_ref())?;
            let is_read = exports("METRICS") || registry.is_some();
            install(*service, &provider.meter("trivium"), is_read);
            providers.push(provider);
            registries.extend(registry);
        }
        let endpoint = prometheus.map(|addr| Endpoint::start(addr, registries)).transpose()?;
        Ok(Self { providers, endpoint })
    }

    /// Where metrics can be scraped, its port filled in.
    pub fn prometheus_addr(&self) -> Option<SocketAddr> {
        self.endpoint.as_ref().map(Endpoint::addr)
    }

    /// Sends what was counted since the last export, and stops. Blocks for at most some seconds.
    pub fn shutdown(self) {
        for provider in self.providers {
            if let Err(error) = provider.shutdown() {
                tracing::warn!(%error, "metrics could not be flushed");
            }
        }
    }
}

fn provider(service: Service, alone: bool, registry: Option<&Registry>) -> Result<SdkMeterProvider, ConfigError> {
    let mut builder = SdkMeterProvider::builder().with_resource(resource(service, alone));
    if exports("METRICS") {
        let exporter = opentelemetry_otlp::MetricExporter::builder()
            .with_tonic()
            .build()
            .map_err(|error| ConfigError::new("OTEL_EXPORTER_OTLP_ENDPOINT", "", error.to_string()))?;
        builder = builder.with_periodic_exporter(exporter);
    }
    if let Some(registry) = registry {
        // Registries of several services are scraped as one, so each sample says whose it is.
        let whose = HashSet::from([Key::from_static_str("service.name")]);
        let reader = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            .with_resource_selector(whose)
            .scope_info_enabled(false)
            .build()
            .map_err(|error| ConfigError::new("telemetry.prometheus_addr", "", error.to_string()))?;
        builder = builder.with_reader(reader);
    }
    Ok(builder.build())
}
