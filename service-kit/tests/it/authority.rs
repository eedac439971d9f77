//! An authority that gives out certificates, and files to keep them in.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType, date_time_ymd,
};
use trivium_service_kit::{ClientTlsOptions, ServerTlsOptions};

/// An authority of the test's own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate with these names, which are DNS names unless they are URIs, for both sides of a connection.
    pub fn certify(&self, names: &[&str]) -> Pair {
        self.certify_until(names, 2099)
    }

    /// One that has expired with that year.
    pub fn certify_until(&self, names: &[&str], year: i32) -> Pair {
        let mut params = CertificateParams::default();
        let name = |name: &&str| match name.contains("://") {
            true => SanType::URI((*name).try_into().expect("ASCII")),
            false => SanType::DnsName((*name).try_into().expect("ASCII")),
        };
        params.subject_alt_names = names.iter().map(name).collect();
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed").pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// The files of one side of a connection: its certificate and the authorities that it trusts.
pub struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub fn new(own: &Pair, trusted: &str) -> Self {
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        files.replace(own, trusted);
        files
    }

    /// Writes other contents over those that are there, one file at a time.
    pub fn replace(&self, own: &Pair, trusted: &str) {
        for (name, text) in [("own.pem", own.certificate.as_str()), ("key.pem", &own.key), ("ca.pem", trusted)] {
            std::fs::write(self.path(name), text).expect("written");
        }
    }

    /// Replaces the authorities alone, at once.
    pub fn trust(&self, trusted: &str) {
        self.exchange("ca.pem", trusted);
    }

    /// Replaces the certificate and its key alone, one after the other.
    pub fn own(&self, own: &Pair) {
        self.exchange("own.pem", &own.certificate);
        self.exchange("key.pem", &own.key);
    }

    fn exchange(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, self.path(name)).expect("renamed");
    }

    /// How a server uses them, which asks its clients for certificates.
    pub fn server(&self) -> ServerTlsOptions {
        ServerTlsOptions {
            certificate: self.path("own.pem"),
            key: self.path("key.pem"),
            client_ca: Some(self.path("ca.pem")),
            reload_ms: 10,
            ..ServerTlsOptions::default()
        }
    }

    /// How a client uses them, which shows its certificate.
    pub fn client(&self) -> ClientTlsOptions {
        ClientTlsOptions {
            ca: self.path("ca.pem"),
            certificate: Some(self.path("own.pem")),
            key: Some(self.path("key.pem")),
            reload_ms: 10,
            ..ClientTlsOptions::default()
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::new(self.folder.path()).join(name)
    }
}
