//! Transport security: certificates of both sides, who may be on the other side, and files that change while they serve.
//!
//! Each connection is made with the files as they are then. A file that changes is read within `reload_ms`; connections
//! that exist go on, and `server.max_connection_age_ms` says how long they may. Files that do not fit together, as in
//! the moment between the writing of a certificate and of its key, are not used: what served before goes on serving.

mod client;
mod files;
mod peer;
mod server;

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use self::peer::Allowed;
pub use self::peer::Peer;
pub(crate) use self::{client::ClientTls, server::ServerTls};
use crate::{ConfigError, config::at_least};

/// How often the files are looked at, in milliseconds. Reading them is cheap, and nobody waits for a rotation.
const RELOAD_MS: u64 = 10_000;

/// The certificates of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerTlsOptions {
    /// Its certificate and those between it and the authority, in PEM.
    pub certificate: PathBuf,
    /// The certificate's private key, in PEM.
    pub key: PathBuf,
    /// The authorities that clients' certificates come from, in PEM. Without it no client is asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client without a certificate is refused, where clients are asked for one.
    pub require_client_certificate: bool,
    /// The names that a client's certificate must have one of: DNS names, or URIs such as `spiffe://...`. Any if empty.
    pub allowed_peers: Vec<String>,
    /// How often the files are looked at for changes, in milliseconds.
    pub reload_ms: u64,
}

impl Default for ServerTlsOptions {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            client_ca: None,
            require_client_certificate: true,
            allowed_peers: Vec::new(),
            reload_ms: RELOAD_MS,
        }
    }
}

impl ServerTlsOptions {
    /// Checks every value. The files are read when the server binds: another service's may not be on this machine. Keys
    /// are relative to the section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        at_least("reload_ms", self.reload_ms, 10)?;
        named("certificate", &self.certificate)?;
        named("key", &self.key)?;
        if self.client_ca.is_none() && !self.allowed_peers.is_empty() {
            let why = "needs client_ca: without it no client shows a certificate";
            return Err(ConfigError::new("allowed_peers", self.allowed_peers.join(", "), why));
        }
        Ok(())
    }
}

/// What a client trusts, and what it shows of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientTlsOptions {
    /// The authorities that the server's certificate comes from, in PEM.
    pub ca: PathBuf,
    /// The client's own certificate, in PEM, for servers that ask for one.
    pub certificate: Option<PathBuf>,
    /// The certificate's private key, in PEM.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must have; that of the endpoint if empty.
    pub server_name: String,
    /// The names that the server's certificate must have one of as well: DNS names or URIs. Any if empty.
    pub allowed_peers: Vec<String>,
    /// How often the files are looked at for changes, in milliseconds.
    pub reload_ms: u64,
}

impl Default for ClientTlsOptions {
    fn default() -> Self {
        Self {
            ca: PathBuf::new(),
            certificate: None,
            key: None,
            server_name: String::new(),
            allowed_peers: Vec::new(),
            reload_ms: RELOAD_MS,
        }
    }
}

impl ClientTlsOptions {
    /// Checks every value. The files are read when a channel is made. Keys are relative to the section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        at_least("reload_ms", self.reload_ms, 10)?;
        named("ca", &self.ca)?;
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err(ConfigError::new("key", "", "must go with certificate")),
            (None, Some(_)) => Err(ConfigError::new("certificate", "", "must go with key")),
            _ => Ok(()),
        }
    }
}

/// Says what is behind bytes that are no handshake: they come from a side in plain, and rustls has a name for them that says
/// so to few.
fn explained(error: io::Error, likely: &str) -> io::Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(_)) => io::Error::new(error.kind(), format!("{error}, as where {likely}")),
        _ => error,
    }
}

fn named(key: &str, path: &Path) -> Result<(), ConfigError> {
    if path.as_os_str().is_empty() {
        return Err(ConfigError::new(key, "", "must name a file in PEM"));
    }
    Ok(())
}
