//! A log for each tenant, so that nobody can find, count or miss the records of others.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use trivium_service_kit::{ConfigError, Error, Reason, Tenant};

use super::{Audit, AuditOptions};

/// The folder of the tenants' logs inside that of the log.
const TENANTS: &str = "tenants";

/// Logs that are open at once at most. Each has a writer and a queue of its own.
const MAX_OPEN: usize = 4_096;

/// The logs of all tenants. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Audits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: AuditOptions,
    default_collections: Vec<String>,
    /// That of the tenant without a name.
    own: Audit,
    opened: Mutex<HashMap<Tenant, Audit>>,
}

impl Audits {
    /// Opens the log that is configured. Those of tenants with a name are opened when these first call.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(options: &AuditOptions, default_collections: &[String]) -> Result<Self, ConfigError> {
        let own = Audit::open(options, default_collections)?;
        let default_collections = default_collections.to_vec();
        Ok(Self(Arc::new(Inner { options: options.clone(), default_collections, own, opened: Mutex::default() })))
    }

    /// The log of a tenant.
    ///
    /// # Errors
    /// `STORAGE_FAILED` when its folder cannot be made, or too many are open.
    pub fn of(&self, tenant: &Tenant) -> Result<Audit, Error> {
        if tenant.name().is_empty() || !self.0.own.is_on() {
            return Ok(self.0.own.clone());
        }
        let mut opened = self.0.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(audit) = opened.get(tenant) {
            return Ok(audit.clone());
        }
        if opened.len() >= MAX_OPEN {
            return Err(Error::new(
                Reason::StorageFailed,
                format!("the records of {MAX_OPEN} tenants are open already"),
            ));
        }
        let audit = Audit::open(&self.0.options_of(tenant), &self.0.default_collections).map_err(|error| {
            tracing::error!(%error, "the folder of a tenant's records cannot be made");
            Error::new(Reason::StorageFailed, "the folder of the tenant's records cannot be made")
        })?;
        opened.insert(tenant.clone(), audit.clone());
        Ok(audit)
    }

    /// Puts every record of every tenant on the disk.
    pub async fn close(&self) {
        let opened: Vec<Audit> =
            self.0.opened.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for audit in opened {
            audit.close().await;
        }
        self.0.own.close().await;
    }
}

impl Inner {
    fn options_of(&self, tenant: &Tenant) -> AuditOptions {
        let inside = |dir: &PathBuf| dir.join(TENANTS).join(tenant.name());
        AuditOptions { dir: self.options.dir.as_ref().map(inside), ..self.options.clone() }
    }
}
