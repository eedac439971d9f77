//! Reading a kept state.

use super::super::derive;
use super::super::publish::Published;
use super::super::{CollectionError, catchup};
use super::{AsOf, SnapshotError, SnapshotInfo, Snapshots, State, retention};
use crate::lexical::{LexicalError, LexicalSearcher};
use crate::vector::VectorTable;
use std::path::PathBuf;
use std::sync::Arc;

/// A state that was found.
enum Place {
    /// It can be read at once.
    Open(Arc<Published>),
    /// Its files have to be opened.
    Files(SnapshotInfo),
}

impl Snapshots {
    /// The pair of the state that is meant.
    pub(in super::super) async fn pair(
        &self,
        wanted: &AsOf,
        published: &Arc<Published>,
    ) -> Result<Arc<Published>, SnapshotError> {
        if let Place::Open(pair) = self.state().find(wanted, published)? {
            return Ok(pair);
        }
        let _changing = self.changing.lock().await;
        // Whoever held the lock before may have opened the same state, or removed it.
        let info = match self.state().find(wanted, published)? {
            Place::Open(pair) => return Ok(pair),
            Place::Files(info) => info,
        };
        let pair = Arc::new(self.read(info, &published.table).await?);
        let mut state = self.state();
        state.hold(&pair);
        state.open.push_back(pair.clone());
        while state.open.len() > self.options.open {
            state.open.pop_front();
        }
        Ok(pair)
    }

    async fn read(&self, info: SnapshotInfo, newest: &VectorTable) -> Result<Published, CollectionError> {
        let table = newest.at_version(info.version).await?;
        let folder = self.folder.lexical_of(info.version);
        let lexical = match self.open_index(folder.clone(), &table).await {
            Err(CollectionError::Lexical(error)) => {
                tracing::warn!(
                    collection = self.collection,
                    version = info.version,
                    error = &error as &dyn std::error::Error,
                    "the lexical index of a kept state is built anew"
                );
                let index = derive::rebuild(&table, &folder, &self.lexical).await?;
                let searcher = index.searcher();
                derive::close(index).await?;
                searcher
            }
            opened => opened?,
        };
        catchup::check_count(catchup::LEXICAL, lexical.num_docs(), table.count_rows().await?, info.version)?;
        // They were within the budget when the state was published.
        let vectors = if info.vectors_in_memory { table.load_exact(u64::MAX).await? } else { None };
        Ok(Published { table, lexical, vectors, documents: info.documents, chunks: info.chunks })
    }

    async fn open_index(&self, folder: PathBuf, table: &VectorTable) -> Result<LexicalSearcher, CollectionError> {
        let (path, fields, options) = (folder.clone(), table.layout().fields.clone(), self.lexical.clone());
        let open = move || LexicalSearcher::open(&path, &fields, &options);
        let (searcher, payload) = tokio::task::spawn_blocking(open).await??;
        let expected = derive::payload(table, &payload.analyzer_hash, payload.live_rows);
        match payload == expected {
            true => Ok(searcher),
            false => {
                let reason = "it is of another version of the table".to_owned();
                Err(LexicalError::Damaged { path: folder, reason }.into())
            }
        }
    }
}

impl State {
    fn find(&mut self, wanted: &AsOf, published: &Arc<Published>) -> Result<Place, SnapshotError> {
        let current = published.version();
        let mut committed = self.committed();
        committed.insert(current, published.table.committed_at_ns());
        let version = retention::resolve(wanted, &committed, &self.tags, current)?;
        let live = version == current && self.live == Some(version);
        // What is not kept is the published state, which is there all the same.
        let Some(info) = self.kept.get(&version).filter(|_| !live) else {
            return Ok(Place::Open(published.clone()));
        };
        match self.open.iter().position(|pair| pair.version() == version).and_then(|place| self.open.remove(place)) {
            Some(pair) => {
                self.open.push_back(pair.clone());
                Ok(Place::Open(pair))
            }
            None => Ok(Place::Files(info.clone())),
        }
    }
}
