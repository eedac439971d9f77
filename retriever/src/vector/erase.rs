//! Erasing deleted rows physically, from the newest version and by removing all others.

use super::{TableFuture, VectorError, VectorTable, failed};
use futures::FutureExt;
use lance::dataset::cleanup::CleanupPolicyBuilder;
use lance::dataset::index::DatasetIndexRemapperOptions;
use lance::dataset::optimize::{CompactionOptions, CompactionTask, TaskData, commit_compaction};
use std::sync::Arc;

impl VectorTable {
    /// Writes every fragment anew that has deleted rows, without them, in one new version; `None` when there is none.
    /// Rows keep their ids and change their places. The cost depends on the fragments that have deleted rows.
    ///
    /// # Errors
    /// Whatever Lance refuses. As with [`VectorTable::commit`], the version may have been made all the same.
    pub fn without_deleted_rows(&self) -> TableFuture<'_, Option<Self>> {
        async move {
            let options = CompactionOptions { materialize_deletions: true, ..CompactionOptions::default() };
            let mut rewritten = Vec::new();
            for fragment in self.dataset.fragments().iter().filter(|fragment| fragment.deletion_file.is_some()) {
                let task = TaskData { fragments: vec![fragment.clone()] };
                let task = CompactionTask { task, read_version: self.own_version(), options: options.clone() };
                rewritten.push(task.execute(&self.dataset).await.map_err(failed("rewrite a fragment"))?);
            }
            if rewritten.is_empty() {
                return Ok(None);
            }
            let mut dataset = (*self.dataset).clone();
            let remapping = Arc::new(DatasetIndexRemapperOptions::default());
            commit_compaction(&mut dataset, rewritten, remapping, &options)
                .await
                .map_err(failed("commit rewritten fragments"))?;
            if dataset.fragments().iter().any(|fragment| fragment.deletion_file.is_some()) {
                return Err(VectorError::damaged("a fragment that was rewritten has deleted rows still"));
            }
            self.at(dataset).await.map(Some)
        }
        .boxed()
    }

    /// Removes all versions but this one, which must be the newest, and every file that it does not name, and drops what is
    /// kept in memory of any table's token vectors; gives the bytes that were freed. Nothing may be writing to the table meanwhile.
    ///
    /// # Errors
    /// A file cannot be removed. What was removed before stays removed.
    pub fn remove_all_others(&self) -> TableFuture<'_, u64> {
        async move {
            let policy = CleanupPolicyBuilder::default()
                .error_if_tagged_old_versions(false)
                .delete_unverified(true)
                .retain_n_versions(&self.dataset, 1)
                .await
                .map_err(failed("list its versions"))?
                .build();
            let stats = self.dataset.cleanup_with_policy(policy).await.map_err(failed("remove versions"))?;
            self.kept_tokens.clear();
            match stats.failed_deletes {
                0 => Ok(stats.bytes_removed),
                left => Err(VectorError::damaged(format!("{left} files of removed versions could not be deleted"))),
            }
        }
        .boxed()
    }
}
