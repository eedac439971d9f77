//! The client's side of a handshake.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use rustls::{ClientConfig, client::Resumption, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    Allowed, ClientTlsOptions, explained,
    files::{authorities, credentials},
    peer::names_of,
    server::HTTP_2,
};
use crate::{ConfigError, reload::Reloaded};

/// What a client shakes hands with.
pub(crate) struct ClientTls {
    config: Reloaded<ClientConfig>,
    allowed: Allowed,
    name: ServerName<'static>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Reads the files, and follows them. `host` is the server's name unless the options have another.
    ///
    /// # Errors
    /// Names the key that will not do.
    pub fn new(options: &ClientTlsOptions, host: &str) -> Result<Self, ConfigError> {
        let name = match options.server_name.as_str() {
            "" => host,
            name => name,
        };
        // An address of version 6 stands in brackets in an endpoint, and without them in a certificate.
        let bare = name.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare)
            .map_err(|_| ConfigError::new("server_name", name, "is neither a DNS name nor an address"))?;
        let files = [Some(&options.ca), options.certificate.as_ref(), options.key.as_ref()];
        let files: Vec<PathBuf> = files.into_iter().flatten().cloned().collect();
        let every = Duration::from_millis(options.reload_ms);
        let allowed = Allowed::new(&options.allowed_peers);
        let options = options.clone();
        let config = Reloaded::new("client.tls", files, every, move || config(&options))?;
        Ok(Self { config, allowed, name })
    }

    /// Shakes hands on a new connection.
    ///
    /// # Errors
    /// What the server showed will not do, or it says so of the client's.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connecting = TlsConnector::from(self.config.get()).connect(self.name.clone(), stream);
        let stream =
            connecting.await.map_err(|error| explained(error, "the client speaks TLS and the server does not"))?;
        let names = names_of(stream.get_ref().1.peer_certificates());
        self.allowed.check(names).map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?;
        Ok(stream)
    }
}

/// The configuration that the files amount to.
pub(super) fn config(options: &ClientTlsOptions) -> Result<ClientConfig, ConfigError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new("tls", "", error.to_string()))?
        .with_root_certificates(authorities("ca", &options.ca)?);
    // `validate` has refused one without the other.
    let mut config = match options.certificate.as_ref().zip(options.key.as_ref()) {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let own = credentials(certificate, key)?;
            builder
                .with_client_auth_cert(own.chain, own.key)
                .map_err(|error| ConfigError::new("certificate", certificate.display(), error.to_string()))?
        }
    };
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
