//! Reading certificates and keys.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::ConfigError;

/// A certificate chain and its private key. It is never printed.
pub(super) struct Credentials {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

/// The bytes of a file.
fn read(option: &str, path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|error| ConfigError::new(option, path.display(), error.to_string()))
}

/// The certificates of a file, at least one.
fn certificates(option: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let bad = |why: String| ConfigError::new(option, path.display(), why);
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(option, path)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(bad("holds no certificate in PEM".into())),
        Ok(found) => Ok(found),
        Err(error) => Err(bad(format!("is no PEM: {error}"))),
    }
}

/// A certificate with its key.
pub(super) fn credentials(certificate: &Path, key: &Path) -> Result<Credentials, ConfigError> {
    let chain = certificates("certificate", certificate)?;
    // What the reader says of a key must not be passed on: it may quote the file.
    let key_der = PrivateKeyDer::from_pem_slice(&read("key", key)?)
        .map_err(|_| ConfigError::new("key", key.display(), "holds no private key in PEM"))?;
    Ok(Credentials { chain, key: key_der })
}

/// The authorities of a file.
pub(super) fn authorities(option: &str, path: &Path) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(option, path)? {
        roots.add(certificate).map_err(|error| {
            ConfigError::new(option, path.display(), format!("holds what is no authority's certificate: {error}"))
        })?;
    }
    Ok(roots)
}
