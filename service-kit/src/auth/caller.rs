//! A caller, once it is known.

use std::{fmt, sync::Arc};

use http::HeaderValue;
use tokio::{task_local, time::Instant};

use super::quota::Account;
use crate::{Error, Reason};

/// The longest name of a tenant, in bytes.
const MAX_TENANT_BYTES: usize = 63;

/// Whom data belong to. The default has no name: it is the one tenant of services without authentication.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// A tenant of that name: lower-case letters, digits and `-`, beginning with a letter or digit. `None` for any other
    /// text, and for one of more than 63 bytes.
    pub fn named(name: &str) -> Option<Self> {
        let plain = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        let good = plain && !name.starts_with('-') && (1..=MAX_TENANT_BYTES).contains(&name.len());
        good.then(|| Self(name.into()))
    }

    /// Its name; empty for the one without.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The name as metadata; `None` for the one without.
    pub(crate) fn to_header(&self) -> Option<HeaderValue> {
        // Names are plain ASCII.
        (!self.0.is_empty()).then(|| HeaderValue::from_str(&self.0).ok()).flatten()
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who calls. It stands in the request's extensions.
#[derive(Clone, Debug, Default)]
pub enum Caller {
    /// Anybody: the server asks nobody.
    #[default]
    Anybody,
    /// Another service, on its own behalf.
    Service,
    /// A tenant, by itself or through a service that works for it.
    Tenant {
        /// Which.
        tenant: Tenant,
        /// What it has used of its quotas; `None` where another service keeps count.
        account: Option<Arc<Account>>,
    },
}

impl Caller {
    /// The caller of a request.
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Whom the call is for.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for a service that works for nobody: nothing that belongs to a tenant is its business.
    pub fn tenant(&self) -> Result<Tenant, Error> {
        match self {
            Self::Anybody => Ok(Tenant::default()),
            Self::Tenant { tenant, .. } => Ok(tenant.clone()),
            Self::Service => Err(Error::new(Reason::Unauthenticated, "the call names no tenant")),
        }
    }

    /// Books tokens of language models that a call has used, which are known when it has ended.
    pub fn used_tokens(&self, tokens: u64) {
        if let Self::Tenant { account: Some(account), .. } = self {
            account.used_tokens(tokens, Instant::now());
        }
    }
}

task_local! {
    /// The tenant of the call that a task works on.
    pub(super) static TENANT: Tenant;
}

/// The tenant of the call that this task works on, if it has one.
pub(crate) fn current_tenant() -> Option<Tenant> {
    TENANT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tenants_are_plain() {
        let longest = "a".repeat(63);
        for name in ["a", "acme", "acme-2", "0", longest.as_str()] {
            assert_eq!(Tenant::named(name).map(|tenant| tenant.name().to_owned()).as_deref(), Some(name));
        }
        let too_long = "a".repeat(64);
        for name in ["", "-a", "A", "a.b", "a_b", "a/b", "..", "é", "a b", too_long.as_str()] {
            assert_eq!(Tenant::named(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_service_on_its_own_behalf_has_no_tenant() {
        assert_eq!(Caller::default().tenant(), Ok(Tenant::default()));
        assert_eq!(Caller::Service.tenant().expect_err("none").reason(), Reason::Unauthenticated);
    }
}
