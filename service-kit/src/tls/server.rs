//! The server's side of a handshake.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Allowed, Peer, ServerTlsOptions, explained,
    files::{authorities, credentials},
    peer::names_of,
};
use crate::{ConfigError, reload::Reloaded};

/// How long a client may take over a handshake. One that is slower may come again; one that says nothing must not hold a
/// place.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// The protocol of the connections, which clients ask for by name.
pub(super) const HTTP_2: &[u8] = b"h2";

/// What a server shakes hands with.
pub(crate) struct ServerTls {
    config: Reloaded<ServerConfig>,
    allowed: Allowed,
}

impl ServerTls {
    /// Reads the files, and follows them.
    ///
    /// # Errors
    /// Names the key that will not do.
    pub fn new(options: &ServerTlsOptions) -> Result<Self, ConfigError> {
        let files = [Some(&options.certificate), Some(&options.key), options.client_ca.as_ref()];
        let files: Vec<PathBuf> = files.into_iter().flatten().cloned().collect();
        let every = Duration::from_millis(options.reload_ms);
        let allowed = Allowed::new(&options.allowed_peers);
        let options = options.clone();
        let config = Reloaded::new("server.tls", files, every, move || config(&options))?;
        Ok(Self { config, allowed })
    }

    /// Shakes hands on a new connection. Gives it and who is on the other side.
    ///
    /// # Errors
    /// What the client showed will not do, or it is too slow.
    pub async fn accept(&self, stream: TcpStream, from: SocketAddr) -> io::Result<(TlsStream<TcpStream>, Peer)> {
        let accepting = TlsAcceptor::from(self.config.get()).accept(stream);
        let Ok(accepted) = timeout(HANDSHAKE_LIMIT, accepting).await else {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the client did not finish the handshake"));
        };
        let stream = accepted.map_err(|error| explained(error, "the server speaks TLS and the client does not"))?;
        let names = names_of(stream.get_ref().1.peer_certificates());
        // Without a certificate nobody claims a name; whether that will do is the configuration's to say.
        let names = if names.is_empty() && stream.get_ref().1.peer_certificates().is_none() {
            names
        } else {
            self.allowed.check(names).map_err(|error| io::Error::new(io::ErrorKind::PermissionDenied, error))?
        };
        Ok((stream, Peer::new(names, from.ip().is_loopback())))
    }
}

/// The configuration that the files amount to.
pub(super) fn config(options: &ServerTlsOptions) -> Result<ServerConfig, ConfigError> {
    let own = credentials(&options.certificate, &options.key)?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| ConfigError::new("tls", "", error.to_string()))?;
    let builder = match &options.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities("client_ca", path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = if options.require_client_certificate { verifier } else { verifier.allow_unauthenticated() };
            let bad = |why: String| ConfigError::new("client_ca", path.display(), why);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| bad(error.to_string()))?)
        }
    };
    let mut config = builder
        .with_single_cert(own.chain, own.key)
        .map_err(|error| ConfigError::new("certificate", options.certificate.display(), error.to_string()))?;
    config.alpn_protocols = vec![HTTP_2.to_vec()];
    // Connections live long, so resuming saves nothing; and a certificate that has expired since must not come back by it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}
