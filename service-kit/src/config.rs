//! Configuration: a TOML file, then `TRIVIUM_*` from the environment, then flags.
//!
//! It is read and checked whole before any port is bound. What is wrong is
//! reported as a [`ConfigError`], for which the binary exits with
//! [`EXIT_CODE`].

use std::{fmt, path::Path};

use figment::{
    Figment,
    error::Kind,
    providers::{Env, Format, Serialized, Toml},
};
use serde::{Serialize, de::DeserializeOwned};

/// The exit code for bad configuration: `EX_USAGE` of BSD's sysexits.
pub const EXIT_CODE: u8 = 64;

/// Separates the parts of a key in the environment: `TRIVIUM_ROUTER__SERVER__ADDR` is `router.server.addr`.
const ENV_SEPARATOR: &str = "__";

/// What is wrong with the configuration: one key, its value, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The key, with dots, or the file when none of its keys can be read.
    pub key: String,
    /// The value found.
    pub value: String,
    /// Why it will not do, and what would.
    pub why: String,
}

impl ConfigError {
    /// An error about one key.
    pub fn new(key: impl Into<String>, value: impl ToString, why: impl Into<String>) -> Self {
        Self { key: key.into(), value: value.to_string(), why: why.into() }
    }

    /// The same error, its key inside `section`.
    #[must_use]
    pub fn within(mut self, section: &str) -> Self {
        self.key = format!("{section}.{}", self.key);
        self
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            write!(f, "bad configuration: {}: {}", self.key, self.why)
        } else {
            write!(f, "bad configuration: {} = {}: {}", self.key, self.value, self.why)
        }
    }
}

/// Checks a number against the least value it may have.
///
/// # Errors
/// Names `key`, the value and the bound.
pub fn at_least<T: PartialOrd + fmt::Display>(key: &str, value: T, least: T) -> Result<(), ConfigError> {
    if value >= least {
        return Ok(());
    }
    Err(ConfigError::new(key, value, format!("must be at least {least}")))
}

/// Reads settings: `T`'s defaults, under `file`, under the environment, under `overrides`.
///
/// Only variables with a double underscore after the prefix are settings
/// (`TRIVIUM_ROUTER__SERVER__ADDR`); the others belong to the command line.
///
/// # Errors
/// Names the first key that is unknown, or whose value has the wrong type.
pub fn load<T>(file: Option<&Path>, overrides: impl Serialize) -> Result<T, ConfigError>
where
    T: Default + Serialize + DeserializeOwned,
{
    let mut figment = Figment::from(Serialized::defaults(T::default()));
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::new("--config", path.display(), error.to_string()))?;
        figment = figment.merge(Toml::string(&text));
    }
    figment
        .merge(Env::prefixed("TRIVIUM_").filter(|key| key.as_str().contains(ENV_SEPARATOR)).split(ENV_SEPARATOR))
        .merge(Serialized::defaults(overrides))
        .extract()
        .map_err(|error| explain(&error, file))
}

fn explain(error: &figment::Error, file: Option<&Path>) -> ConfigError {
    let mut key = error.path.join(".");
    let (value, why) = match &error.kind {
        Kind::InvalidType(found, wanted) => (found.to_string(), format!("must be {wanted}")),
        Kind::InvalidValue(found, wanted) => (found.to_string(), format!("must be {wanted}")),
        Kind::UnknownField(_, known) => (String::new(), format!("no such key; the keys here are {}", known.join(", "))),
        other => (String::new(), other.to_string()),
    };
    if key.is_empty() {
        key = file.map_or_else(|| "configuration".to_owned(), |path| path.display().to_string());
    }
    ConfigError { key, value, why }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        router: Section,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Section {
        addr: std::net::SocketAddr,
        k: u32,
    }

    impl Default for Section {
        fn default() -> Self {
            Self { addr: ([127, 0, 0, 1], 7700).into(), k: 8 }
        }
    }

    fn load_text(text: &str) -> Result<Settings, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        load(Some(file.path()), serde_json::json!({}))
    }

    #[test]
    fn a_file_lies_over_the_defaults_and_flags_over_the_file() {
        assert_eq!(load_text("[router]\nk = 3\n").expect("good").router.k, 3);
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "[router]\nk = 3\n").expect("written");
        let settings: Settings = load(Some(file.path()), serde_json::json!({"router": {"k": 5}})).expect("good");
        assert_eq!(settings.router, Section { k: 5, ..Section::default() });
    }

    #[test]
    fn errors_name_key_value_and_why() {
        let table = [
            ("[router]\nk = \"many\"\n", "router.k", "many"),
            ("[router]\nport = 1\n", "router.port", ""),
            ("[router]\naddr = \"nowhere\"\n", "router.addr", ""),
        ];
        for (text, key, value) in table {
            let error = load_text(text).expect_err(text);
            assert_eq!(error.key, key, "{error}");
            assert!(error.to_string().contains(value), "{error}");
            assert!(!error.why.is_empty());
        }
        let error = load_text("[router\n").expect_err("no TOML");
        assert!(!error.key.is_empty() && !error.why.is_empty(), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error =
            load::<Settings>(Some(Path::new("/nowhere/trivium.toml")), serde_json::json!({})).expect_err("none");
        assert_eq!(error.key, "--config");
        assert_eq!(error.value, "/nowhere/trivium.toml");
    }
}
