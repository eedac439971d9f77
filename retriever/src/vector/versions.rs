//! Earlier versions of a table: reading them, listing them, and removing them.

use super::{TableFuture, VectorError, VectorTable, failed};
use futures::FutureExt;
use lance::dataset::cleanup::CleanupPolicyBuilder;

/// What removing versions freed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Versions that are gone.
    pub versions: u64,
    /// Bytes of the files that no version needed any more.
    pub bytes: u64,
}

impl VectorTable {
    /// An earlier version, as it was.
    ///
    /// # Errors
    /// The version was removed, or cannot be read.
    pub fn at_version(&self, version: u64) -> TableFuture<'_, Self> {
        async move {
            let own = version.checked_sub(self.versions_before);
            let own = own.ok_or_else(|| VectorError::damaged(format!("version {version} was another table's")))?;
            let dataset = self.dataset.checkout_version(own).await.map_err(failed("read an earlier version"))?;
            self.at(dataset).await
        }
        .boxed()
    }

    /// The versions whose files are still there, ascending, the present one included.
    ///
    /// # Errors
    /// The table's folder cannot be listed.
    pub fn versions(&self) -> TableFuture<'_, Vec<u64>> {
        async move {
            let versions = self.dataset.version_refs().await.map_err(failed("list its versions"))?;
            Ok(versions.into_iter().map(|version| self.versions_before + version.version).collect())
        }
        .boxed()
    }

    /// Removes versions, and the files that no other version names. The newest version stays, whatever is asked; files that
    /// no version ever named stay for a week, for they may belong to a commit that is being made.
    ///
    /// # Errors
    /// A file cannot be removed. What was removed before stays removed.
    pub fn remove_versions(&self, versions: Vec<u64>) -> TableFuture<'_, Removed> {
        async move {
            let versions =
                versions.into_iter().filter_map(|version| version.checked_sub(self.versions_before)).collect();
            let policy = CleanupPolicyBuilder::default()
                .error_if_tagged_old_versions(false)
                .versions(versions)
                .map_err(failed("remove versions"))?
                .build();
            let stats = self.dataset.cleanup_with_policy(policy).await.map_err(failed("remove versions"))?;
            if stats.failed_deletes > 0 {
                let what = format!("{} of the files of removed versions could not be deleted", stats.failed_deletes);
                return Err(VectorError::damaged(what));
            }
            Ok(Removed { versions: stats.old_versions, bytes: stats.bytes_removed })
        }
        .boxed()
    }
}
