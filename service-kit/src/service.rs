//! The processes that take part in a trace.

use std::fmt;

/// A part of Trivium that has spans of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Policy and answers.
    Router,
    /// Collections and search.
    Retriever,
    /// Models.
    ModelHost,
    /// The command line, as a client.
    Cli,
}

impl Service {
    /// Every service.
    pub const ALL: [Self; 4] = [Self::Router, Self::Retriever, Self::ModelHost, Self::Cli];

    /// The name on the command line and in configuration, for instance `model-host`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Router => "router",
            Self::Retriever => "retriever",
            Self::ModelHost => "model-host",
            Self::Cli => "cli",
        }
    }

    /// The `service.name` of its traces, unless `OTEL_SERVICE_NAME` says otherwise.
    pub fn telemetry_name(self) -> &'static str {
        match self {
            Self::Router => "trivium-router",
            Self::Retriever => "trivium-retriever",
            Self::ModelHost => "trivium-model-host",
            Self::Cli => "trivium-cli",
        }
    }

    /// What the targets of its spans begin with. The first is its crate, the
    /// second is what this crate uses for the spans it makes on its behalf.
    pub fn targets(self) -> [&'static str; 2] {
        match self {
            Self::Router => ["trivium_router", "trivium::router"],
            Self::Retriever => ["trivium_retriever", "trivium::retriever"],
            Self::ModelHost => ["trivium_model_host", "trivium::model_host"],
            Self::Cli => ["trivium_cli", "trivium::cli"],
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
