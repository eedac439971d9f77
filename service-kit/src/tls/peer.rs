//! Who is on the other side.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// Who sent a request, as far as its connection says. It stands in the request's extensions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    names: Arc<[String]>,
    is_local: bool,
}

impl Peer {
    /// A peer whose certificate was checked and has these names.
    pub(crate) fn new(names: Vec<String>, is_local: bool) -> Self {
        Self { names: names.into(), is_local }
    }

    /// The DNS names and URIs of its certificate, which was checked; none if it showed none.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether it is on this machine.
    pub fn is_local(&self) -> bool {
        self.is_local
    }
}

/// The DNS names and URIs of a certificate: its subject alternative names, as RFC 5280 calls them. The common name is
/// none, because nothing has checked it for decades.
pub(super) fn names_of(chain: Option<&[CertificateDer<'_>]>) -> Vec<String> {
    let Some(certificate) = chain.and_then(<[_]>::first) else { return Vec::new() };
    let Ok(certificate) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    let dns = certificate.valid_dns_names().map(str::to_ascii_lowercase);
    dns.chain(certificate.valid_uri_names().map(str::to_owned)).collect()
}

/// Which names may be on the other side.
#[derive(Clone, Debug)]
pub(super) struct Allowed(Vec<String>);

/// A peer that may not be on the other side.
#[derive(Debug, thiserror::Error)]
#[error("the peer's certificate has the names [{}], and none of them is in tls.allowed_peers", .0.join(", "))]
pub(super) struct NotAllowed(Vec<String>);

impl Allowed {
    pub fn new(names: &[String]) -> Self {
        // URIs keep their case: of SPIFFE's, the path has one.
        let name = |name: &String| if name.contains("://") { name.clone() } else { name.to_ascii_lowercase() };
        Self(names.iter().map(name).collect())
    }

    /// Lets those pass that have one of the names, and everybody if there are none to have.
    pub fn check(&self, names: Vec<String>) -> Result<Vec<String>, NotAllowed> {
        if self.0.is_empty() || names.iter().any(|name| self.0.contains(name)) {
            return Ok(names);
        }
        Err(NotAllowed(names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(list: &[&str], names: &[&str]) -> bool {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Allowed::new(&owned(list)).check(owned(names)).is_ok()
    }

    #[test]
    fn a_peer_needs_one_of_the_names_to_the_letter() {
        let table: [(&[&str], &[&str], bool); 8] = [
            (&[], &[], true),
            (&[], &["anybody"], true),
            (&["router"], &["router"], true),
            (&["Router"], &["router"], true),
            (&["router"], &["x", "router"], true),
            (&["router"], &[], false),
            (&["router"], &["router.evil.example"], false),
            (&["spiffe://a/Router"], &["spiffe://a/router"], false),
        ];
        for (list, names, expected) in table {
            assert_eq!(allowed(list, names), expected, "{list:?} {names:?}");
        }
    }
}
