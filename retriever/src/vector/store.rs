//! Making and opening a table, and what one version of it says of itself.

use super::durable::DurableCommits;
use super::index::IndexState;
use super::schema::{self, TableLayout};
use super::tokens::KeptTokens;
use super::{TableFuture, TokenColumn, VectorError, failed};
use arrow_array::RecordBatchIterator;
use futures::FutureExt;
use futures::future::BoxFuture;
use lance::Dataset;
use lance::dataset::builder::DatasetBuilder;
use lance::dataset::{WriteMode, WriteParams};
use lance::session::Session;
use std::path::Path;
use std::sync::Arc;

/// Caches that all tables of a process share.
#[derive(Debug, Clone)]
pub struct TableCaches {
    session: Arc<Session>,
    tokens: KeptTokens,
}

impl TableCaches {
    /// Caches of at most these sizes. Lance's own defaults, 6 GiB and 1 GiB, suit a machine that does nothing else.
    pub fn new(index_bytes: usize, metadata_bytes: usize) -> Self {
        let session = Arc::new(Session::new(index_bytes, metadata_bytes, Arc::default()));
        Self { session, tokens: KeptTokens::new(0) }
    }

    /// The same, with about this many bytes for token vectors of recent searches; without it none are kept.
    #[must_use]
    pub fn with_token_vectors(self, bytes: u64) -> Self {
        Self { tokens: KeptTokens::new(bytes), ..self }
    }
}

/// One version of a table. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct VectorTable {
    pub(super) dataset: Arc<Dataset>,
    pub(super) layout: Arc<TableLayout>,
    pub(super) table_id: Arc<str>,
    pub(super) index: Arc<IndexState>,
    /// Versions that the tables before this one had, from which it counts on.
    pub(super) versions_before: u64,
    pub(super) kept_tokens: KeptTokens,
    commits: Arc<DurableCommits>,
}

impl VectorTable {
    /// Makes an empty table in a folder that does not exist yet.
    ///
    /// # Errors
    /// The folder holds a table already, or cannot be written.
    pub fn create<'a>(folder: &'a Path, layout: TableLayout, caches: &'a TableCaches) -> TableFuture<'a, Self> {
        Self::create_through(DurableCommits::to(folder), folder, layout, caches)
    }

    pub(super) fn create_through<'a>(
        commits: Arc<DurableCommits>,
        folder: &'a Path,
        layout: TableLayout,
        caches: &'a TableCaches,
    ) -> TableFuture<'a, Self> {
        async move {
            let table_id = uuid::Uuid::new_v4().simple().to_string();
            let params = WriteParams {
                mode: WriteMode::Create,
                // Row ids that survive compaction are what ties the lexical index to this table.
                enable_stable_row_ids: true,
                commit_handler: Some(commits.clone()),
                session: Some(caches.session.clone()),
                ..WriteParams::default()
            };
            let no_rows = RecordBatchIterator::new(std::iter::empty(), layout.schema(&table_id));
            let dataset =
                Dataset::write(no_rows, location(folder)?.as_str(), Some(params)).await.map_err(failed("be made"))?;
            Self::wrap(dataset, layout, commits, caches).await
        }
        .boxed()
    }

    /// Opens the newest version of a table, and makes it durable: the process that committed it may have ended before
    /// it could.
    ///
    /// # Errors
    /// The folder holds no table, or one with other columns than `layout` asks for.
    pub fn open<'a>(folder: &'a Path, layout: TableLayout, caches: &'a TableCaches) -> TableFuture<'a, Self> {
        async move {
            let commits = DurableCommits::to(folder);
            let builder = DatasetBuilder::from_uri(location(folder)?)
                .with_session(caches.session.clone())
                .with_commit_handler(commits.clone());
            let dataset = builder.load().await.map_err(failed("be opened"))?;
            layout.check(&arrow_schema::Schema::from(dataset.schema()))?;
            let table = Self::wrap(dataset, layout, commits, caches).await?;
            table.settle().await?;
            Ok(table)
        }
        .boxed()
    }

    /// The newest version, made durable. It is another one only after a commit whose outcome was lost.
    ///
    /// # Errors
    /// The table cannot be read.
    pub fn newest(&self) -> TableFuture<'_, Self> {
        async move {
            let mut dataset = (*self.dataset).clone();
            dataset.checkout_latest().await.map_err(failed("be refreshed"))?;
            let table = self.at(dataset).await?;
            table.settle().await?;
            Ok(table)
        }
        .boxed()
    }

    /// The same table, whose versions count on from those of the tables before it.
    #[must_use]
    pub fn counting_on(self, versions_before: u64) -> Self {
        Self { versions_before, ..self }
    }

    /// The version, which grows by one with every commit, and counts on when a table takes another one's place.
    pub fn version(&self) -> u64 {
        self.versions_before + self.own_version()
    }

    /// Versions that the tables before this one had.
    pub fn versions_before(&self) -> u64 {
        self.versions_before
    }

    /// The version among this table's own.
    pub fn own_version(&self) -> u64 {
        self.dataset.version_id()
    }

    /// When the version was committed, in nanoseconds since 1970.
    pub fn committed_at_ns(&self) -> i128 {
        // A clock that runs past the year 10^21 does not fit; saturating keeps the conversion total.
        i128::try_from(self.dataset.manifest().timestamp_nanos).unwrap_or(i128::MAX)
    }

    /// When an earlier version was committed, in nanoseconds since 1970; `None` where it is not kept any more.
    pub fn committed_at_ns_of(&self, version: u64) -> BoxFuture<'_, Option<i128>> {
        async move {
            let own = version.checked_sub(self.versions_before)?;
            let dataset = self.dataset.checkout_version(own).await.ok()?;
            i128::try_from(dataset.manifest().timestamp_nanos).ok()
        }
        .boxed()
    }

    /// The random identity that the table was given when it was made. A table made anew under the same path has another.
    pub fn table_id(&self) -> &str {
        &self.table_id
    }

    /// The branch that this version belongs to; empty for the main one.
    pub fn branch(&self) -> &str {
        self.dataset.manifest().branch.as_deref().unwrap_or_default()
    }

    /// What decides the columns.
    pub fn layout(&self) -> &TableLayout {
        &self.layout
    }

    /// Live rows, from the fragments' own counts, without reading any of them.
    ///
    /// # Errors
    /// A fragment carries no count and its files cannot be read.
    pub fn count_rows(&self) -> TableFuture<'_, u64> {
        async move {
            let rows = self.dataset.count_rows(None).await.map_err(failed("count its rows"))?;
            Ok(rows as u64)
        }
        .boxed()
    }

    /// Data fragments, each of which costs a search a little.
    pub fn fragments(&self) -> usize {
        self.dataset.count_fragments()
    }

    pub(super) async fn at(&self, dataset: Dataset) -> Result<Self, VectorError> {
        // Versions from before it have no token vectors; one that cannot be read was refused when the table was opened.
        let tokens = TokenColumn::of(&arrow_schema::Schema::from(dataset.schema())).unwrap_or_default();
        let layout = match tokens == self.layout.tokens {
            true => self.layout.clone(),
            false => Arc::new(TableLayout { tokens, ..(*self.layout).clone() }),
        };
        let index = Arc::new(IndexState::read(&dataset).await?);
        let (table_id, commits) = (self.table_id.clone(), self.commits.clone());
        let (versions_before, kept_tokens) = (self.versions_before, self.kept_tokens.clone());
        Ok(Self { dataset: Arc::new(dataset), layout, table_id, index, versions_before, kept_tokens, commits })
    }

    async fn settle(&self) -> Result<(), VectorError> {
        let name = self.dataset.manifest_location().path.filename().unwrap_or_default();
        self.commits.settle(self.dataset.manifest(), name).await.map_err(VectorError::Sync)
    }

    async fn wrap(
        dataset: Dataset,
        layout: TableLayout,
        commits: Arc<DurableCommits>,
        caches: &TableCaches,
    ) -> Result<Self, VectorError> {
        if !dataset.manifest().uses_stable_row_ids() {
            return Err(VectorError::damaged("its row ids are not stable"));
        }
        let table_id = schema::table_id(&dataset.schema().metadata)?.into();
        let tokens = TokenColumn::of(&arrow_schema::Schema::from(dataset.schema()))?;
        let layout = Arc::new(TableLayout { tokens, ..layout });
        let index = Arc::new(IndexState::read(&dataset).await?);
        let kept_tokens = caches.tokens.clone();
        Ok(Self { dataset: Arc::new(dataset), layout, table_id, index, versions_before: 0, kept_tokens, commits })
    }
}

fn location(folder: &Path) -> Result<String, VectorError> {
    let not_text = || VectorError::damaged(format!("{} is no UTF-8 path", folder.display()));
    folder.to_str().map(str::to_owned).ok_or_else(not_text)
}
