//! Where another service is and how it is called.

use serde::{Deserialize, Serialize};

use super::pool::Target;
use crate::{ClientTlsOptions, ConfigError, config::at_least};

/// Where another service is and how it is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientOptions {
    /// Where it is: `HOST:PORT`, `http://HOST:PORT`, or `https://` with `tls`; `dns:///NAME:PORT` for all replicas that the
    /// name has; or a list, `HOST:PORT,HOST:PORT`.
    pub endpoint: String,
    /// How often a name is resolved again, in milliseconds, give or take a tenth.
    pub resolve_ms: u64,
    /// Whom it trusts, and what it shows of itself. Without it connections are in plain.
    pub tls: Option<ClientTlsOptions>,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// The budget of a call that carries no deadline, in milliseconds.
    pub default_timeout_ms: u64,
    /// How often a connection is probed, in milliseconds.
    pub keepalive_ms: u64,
    /// The largest message, in bytes.
    pub max_message_bytes: usize,
    /// Further attempts that may be made, as a share of all calls, in percent; 0 makes none.
    pub retry_percent: u32,
    /// When the service is left alone for a while.
    pub breaker: BreakerOptions,
}

/// When a circuit breaker opens, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerOptions {
    /// The least calls within ten seconds that say anything; 0 turns the breaker off.
    pub calls: u32,
    /// The share of them that must have failed, in percent.
    pub failures_percent: u32,
    /// A call that found no answer counts as a failure if it was given at least this long, in milliseconds: callers
    /// without patience say nothing about the service.
    pub patience_ms: u64,
    /// How long the service is left alone at first, in milliseconds. It doubles with each probe that fails, up to 16 times.
    pub pause_ms: u64,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { calls: 10, failures_percent: 50, patience_ms: 500, pause_ms: 500 }
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self::to(0)
    }
}

impl ClientOptions {
    /// The defaults, to loopback at `port`.
    pub fn to(port: u16) -> Self {
        Self {
            // Without a scheme it is as good with certificates as in plain.
            endpoint: format!("127.0.0.1:{port}"),
            resolve_ms: 5_000,
            tls: None,
            connect_timeout_ms: 2_000,
            default_timeout_ms: 30_000,
            keepalive_ms: 20_000,
            max_message_bytes: 64 << 20,
            retry_percent: 10,
            breaker: BreakerOptions::default(),
        }
    }

    /// Checks every value. Keys are relative to the client's own section.
    ///
    /// # Errors
    /// Names the first key that will not do.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.tls.as_ref().map_or(Ok(()), ClientTlsOptions::validate).map_err(|error| error.within("tls"))?;
        self.parse()?;
        at_least("resolve_ms", self.resolve_ms, 100)?;
        at_least("connect_timeout_ms", self.connect_timeout_ms, 1)?;
        at_least("default_timeout_ms", self.default_timeout_ms, 1)?;
        at_least("keepalive_ms", self.keepalive_ms, 100)?;
        at_least("max_message_bytes", self.max_message_bytes, 64 << 10)?;
        percent("retry_percent", self.retry_percent, 0)?;
        percent("breaker.failures_percent", self.breaker.failures_percent, 1)?;
        at_least("breaker.patience_ms", self.breaker.patience_ms, 1)?;
        at_least("breaker.pause_ms", self.breaker.pause_ms, 1)
    }

    /// What the endpoint names.
    pub(super) fn parse(&self) -> Result<Target, ConfigError> {
        // No endpoint has a user or a password, but some write them; they are not repeated.
        let shown = if self.endpoint.contains('@') { "" } else { &self.endpoint };
        Target::parse(&self.endpoint, self.tls.is_some()).map_err(|why| ConfigError::new("endpoint", shown, why))
    }
}

fn percent(key: &str, value: u32, least: u32) -> Result<(), ConfigError> {
    at_least(key, value, least)?;
    if value > 100 {
        return Err(ConfigError::new(key, value, "must be at most 100"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_right_and_a_bad_share_is_named() {
        assert_eq!(ClientOptions::to(7700).validate(), Ok(()));
        let table = [
            ("retry_percent", ClientOptions { retry_percent: 101, ..ClientOptions::to(1) }),
            (
                "breaker.failures_percent",
                ClientOptions {
                    breaker: BreakerOptions { failures_percent: 0, ..BreakerOptions::default() },
                    ..ClientOptions::to(1)
                },
            ),
        ];
        for (key, options) in table {
            assert_eq!(options.validate().expect_err(key).key, key);
        }
    }
}
