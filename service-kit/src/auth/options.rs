//! What callers must show.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{JwtOptions, QuotaOptions, Tenant};
use crate::{ConfigError, config::at_least};

/// What the callers of a server must show, and how much they may ask for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthOptions {
    /// The file of API keys, as hashes.
    pub keys_file: Option<PathBuf>,
    /// Whose JSON Web Tokens are taken.
    pub jwt: Option<JwtOptions>,
    /// The names of which a service's certificate must have one to be believed whom it works for.
    pub trusted_peers: Vec<String>,
    /// Whether whatever connects from this machine is believed as well.
    pub trust_loopback: bool,
    /// How often files are looked at for changes, in milliseconds.
    pub reload_ms: u64,
    /// What each tenant may ask for that has no quota of its own.
    pub quota: QuotaOptions,
    /// What a tenant may ask for, by its name.
    pub quotas: BTreeMap<String, QuotaOptions>,
}

impl Default for AuthOptions {
    fn default() -> Self {
        Self {
            keys_file: None,
            jwt: None,
            trusted_peers: Vec::new(),
            trust_loopback: false,
            reload_ms: 10_000,
            quota: QuotaOptions::default(),
            quotas: BTreeMap::new(),
        }
    }
}

impl AuthOptions {
    /// Checks every value. Files are read when the server binds. Keys are relative to the section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        at_least("reload_ms", self.reload_ms, 10)?;
        let nobody =
            self.keys_file.is_none() && self.jwt.is_none() && self.trusted_peers.is_empty() && !self.trust_loopback;
        if nobody {
            let why = "lets nobody in: set keys_file, jwt, trusted_peers or trust_loopback, or leave the section out";
            return Err(ConfigError::new("auth", "", why));
        }
        if let Some(name) = self.quotas.keys().find(|name| Tenant::named(name).is_none()) {
            return Err(ConfigError::new("quotas", name, "is no name of a tenant"));
        }
        self.jwt.as_ref().map_or(Ok(()), JwtOptions::validate).map_err(|error| error.within("jwt"))
    }

    /// What a tenant may ask for.
    pub(super) fn quota_of(&self, tenant: &Tenant) -> &QuotaOptions {
        self.quotas.get(tenant.name()).unwrap_or(&self.quota)
    }
}
