//! What an endpoint names: one server, several, or whatever a name resolves to.

use std::fmt;

use http::uri::Authority;

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::client) struct HostPort {
    /// A name, or an address; one of version 6 in brackets.
    pub host: String,
    pub port: u16,
}

impl HostPort {
    fn parse(text: &str) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        // An authority may name a user, which no server of ours has.
        let plain = !authority.host().is_empty() && !text.contains('@');
        plain.then_some(Self { host: authority.host().to_owned(), port: authority.port_u16()? })
    }

    /// The host as the system's resolver takes it.
    pub fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What an endpoint names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum Target {
    /// `http://HOST:PORT` or `https://HOST:PORT`: one connection, to whatever answers there.
    One(HostPort),
    /// `HOST:PORT,HOST:PORT`: several replicas, a connection to each. There is at least one.
    Several(Vec<HostPort>),
    /// `dns:///NAME:PORT`: a connection to each address that the name has now.
    Name(HostPort),
}

/// The most replicas that an endpoint may list.
const MAX_REPLICAS: usize = 64;

/// What the forms of an endpoint are.
const FORMS: &str = "must look like HOST:PORT, http://HOST:PORT, dns:///NAME:PORT or HOST:PORT,HOST:PORT";

impl Target {
    /// Reads an endpoint. The scheme must say whether the connections are secure, where there is one that can.
    ///
    /// # Errors
    /// Says what will not do.
    pub fn parse(endpoint: &str, is_secure: bool) -> Result<Self, String> {
        let of = |rest: &str| HostPort::parse(rest.trim_end_matches('/')).ok_or_else(|| FORMS.to_owned());
        if let Some(rest) = endpoint.strip_prefix("http://") {
            let why = "must begin with https:// where tls is set";
            return if is_secure { Err(why.to_owned()) } else { of(rest).map(Self::One) };
        }
        if let Some(rest) = endpoint.strip_prefix("https://") {
            let why = "needs tls.ca: without it no server can be told from another";
            return if is_secure { of(rest).map(Self::One) } else { Err(why.to_owned()) };
        }
        if let Some(rest) = endpoint.strip_prefix("dns:///") {
            return of(rest).map(Self::Name);
        }
        let mut replicas = Vec::new();
        for replica in endpoint.split(',') {
            let replica = HostPort::parse(replica.trim()).ok_or_else(|| FORMS.to_owned())?;
            if !replicas.contains(&replica) {
                replicas.push(replica);
            }
        }
        if replicas.len() > MAX_REPLICAS {
            return Err(format!("must list at most {MAX_REPLICAS} replicas; a name can have more"));
        }
        Ok(Self::Several(replicas))
    }

    /// The first host that it names, by which the peer is known in traces and certificates.
    pub fn first(&self) -> &HostPort {
        match self {
            Self::One(one) | Self::Name(one) => one,
            // `parse` makes no empty list: `split` gives at least one item.
            Self::Several(several) => &several[0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port }
    }

    #[test]
    fn the_forms_of_an_endpoint_are_read() {
        let table = [
            ("http://127.0.0.1:7701", false, Target::One(at("127.0.0.1", 7701))),
            ("http://retriever:7701/", false, Target::One(at("retriever", 7701))),
            ("https://[::1]:7701", true, Target::One(at("[::1]", 7701))),
            ("dns:///retriever.trivium.svc:7701", true, Target::Name(at("retriever.trivium.svc", 7701))),
            ("a:1,b:2, a:1", false, Target::Several(vec![at("a", 1), at("b", 2)])),
            ("a:1", true, Target::Several(vec![at("a", 1)])),
        ];
        for (endpoint, is_secure, expected) in table {
            assert_eq!(Target::parse(endpoint, is_secure), Ok(expected), "{endpoint}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        let many = (0..65).map(|port| format!("a:{}", port + 1)).collect::<Vec<_>>().join(",");
        let table = [
            ("", false),
            ("nowhere", false),
            ("http://", false),
            ("http://a", false),
            ("http://a:1", true),
            ("https://a:1", false),
            ("http://user@a:1", false),
            ("dns://8.8.8.8/a:1", false),
            ("dns:///a", false),
            ("a:1,,b:2", false),
            ("a:70000", false),
            (many.as_str(), false),
        ];
        for (endpoint, is_secure) in table {
            assert!(Target::parse(endpoint, is_secure).is_err(), "{endpoint:?}");
        }
    }
}
