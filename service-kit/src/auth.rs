//! Who calls, and for which tenant.
//!
//! A caller from outside shows an API key or a JSON Web Token, which names its tenant. Between services the tenant
//! travels as metadata, which is believed of peers alone whose certificate is on a list. Without `server.auth` everybody
//! may call, and everything belongs to one tenant without a name.

mod caller;
mod jwks;
mod jwt;
mod keys;
mod layer;
mod options;
mod quota;

pub(crate) use self::{caller::current_tenant, layer::AuthLayer};
pub use self::{
    caller::{Caller, Tenant},
    jwt::{Algorithm, JwtOptions, KeySet, Refusal, check as check_token},
    keys::{Holder, Keys, NewKey, new_key},
    layer::bearer,
    options::AuthOptions,
    quota::QuotaOptions,
};

/// The metadata by which a service names the tenant that it works for.
pub(crate) const TENANT_HEADER: &str = "trivium-tenant";
