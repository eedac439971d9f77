//! The configuration file: one TOML with a section for each service and one for telemetry.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use directories::BaseDirs;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use trivium_service_kit::{ConfigError, config, telemetry::TelemetryOptions};

/// Everything that can be configured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The router.
    pub router: trivium_router::Options,
    /// The retriever.
    pub retriever: trivium_retriever::Options,
    /// The model host.
    pub model_host: trivium_model_host::Options,
    /// Logs and traces, of whichever service runs.
    pub telemetry: TelemetryOptions,
}

impl Default for Settings {
    fn default() -> Self {
        let retriever = trivium_retriever::Options { data_dir: default_data_dir(), ..Default::default() };
        Self { router: Default::default(), retriever, model_host: Default::default(), telemetry: Default::default() }
    }
}

/// What flags say over the file and the environment.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The folder of the collections, and of models if it holds any.
    pub data: Option<PathBuf>,
    /// Where the router listens.
    pub router_addr: Option<SocketAddr>,
    /// Where the retriever listens.
    pub retriever_addr: Option<SocketAddr>,
    /// Where the model host listens.
    pub model_host_addr: Option<SocketAddr>,
}

impl Settings {
    /// Reads and checks the whole configuration.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Self, ConfigError> {
        let mut settings: Self = config::load(file, flags.overrides())?;
        settings.prefer_models_beside(flags.data.as_deref());
        settings.validate()?;
        Ok(settings)
    }

    /// Where all services share a data folder, the router's records lie in it, unless they have a folder of their own.
    pub fn record_beside_data(&mut self) {
        let beside = self.retriever.data_dir.join("audit");
        self.router.audit.dir.get_or_insert(beside);
    }

    /// Models that lie in the data folder go before those of the user's cache,
    /// so that a folder can be carried to another machine whole.
    fn prefer_models_beside(&mut self, data: Option<&Path>) {
        let beside = data.map(|folder| folder.join("models")).filter(|models| models.is_dir());
        if self.model_host.models_dir.is_none() {
            self.model_host.models_dir = beside;
        }
    }

    fn validate(&self) -> Result<(), ConfigError> {
        self.router.validate().map_err(|error| error.within("router"))?;
        self.retriever.validate().map_err(|error| error.within("retriever"))?;
        self.model_host.validate().map_err(|error| error.within("model_host"))?;
        self.telemetry.validate()
    }
}

impl Flags {
    fn overrides(&self) -> Value {
        let mut sections = Map::new();
        let addresses =
            [("router", self.router_addr), ("retriever", self.retriever_addr), ("model_host", self.model_host_addr)];
        for (section, addr) in addresses {
            if let Some(addr) = addr {
                sections.insert(section.to_owned(), json!({"server": {"addr": addr}}));
            }
        }
        if let Some(data) = &self.data {
            let retriever = sections.entry("retriever").or_insert_with(|| json!({}));
            retriever["data_dir"] = json!(data);
        }
        Value::Object(sections)
    }
}

/// The folder for data that belongs to the user, for instance `~/.local/share/trivium`.
fn default_data_dir() -> PathBuf {
    BaseDirs::new().map_or_else(|| PathBuf::from("trivium-data"), |dirs| dirs.data_dir().join("trivium"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, flags: &Flags) -> Result<Settings, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs_err::write(file.path(), text).expect("written");
        Settings::load(Some(file.path()), flags)
    }

    #[test]
    fn flags_go_before_the_file() {
        let text = "[router.server]\naddr = \"127.0.0.1:1\"\n[retriever]\ndata_dir = \"a\"\ncandidates = 7\n";
        let flags = Flags {
            data: Some("b".into()),
            router_addr: Some(([127, 0, 0, 1], 2).into()),
            retriever_addr: Some(([127, 0, 0, 1], 3).into()),
            ..Flags::default()
        };
        let settings = load(text, &flags).expect("good");
        assert_eq!((settings.router.server.addr.port(), settings.retriever.server.addr.port()), (2, 3));
        assert_eq!((settings.retriever.data_dir, settings.retriever.candidates), ("b".into(), 7));
        let settings = load(text, &Flags::default()).expect("good");
        assert_eq!((settings.router.server.addr.port(), settings.retriever.data_dir), (1, "a".into()));
    }

    #[test]
    fn a_bad_value_is_named_with_its_section() {
        let table = [
            ("[router]\ncollections = []\n", "router.collections"),
            ("[retriever]\ncandidates = 0\n", "retriever.candidates"),
            ("[model_host]\nbatch_tokens = 0\n", "model_host.batch_tokens"),
            ("[telemetry]\nlog = \"a=b=c\"\n", "telemetry.log"),
            ("[server]\nport = 1\n", "server"),
        ];
        for (text, key) in table {
            assert_eq!(load(text, &Flags::default()).expect_err(text).key, key);
        }
    }

    #[test]
    fn models_beside_the_data_are_used() {
        let data = tempfile::tempdir().expect("a folder");
        let flags = Flags { data: Some(data.path().to_owned()), ..Flags::default() };
        assert_eq!(load("", &flags).expect("good").model_host.models_dir, None);
        fs_err::create_dir(data.path().join("models")).expect("made");
        let found = load("", &flags).expect("good").model_host.models_dir;
        assert_eq!(found, Some(data.path().join("models")));
        let told = load("[model_host]\nmodels_dir = \"elsewhere\"\n", &flags).expect("good").model_host.models_dir;
        assert_eq!(told, Some("elsewhere".into()));
    }
}
