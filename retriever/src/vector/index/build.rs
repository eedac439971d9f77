//! Building a segment of the index beside everything else, on a version that stays as it is.

use super::super::{VectorError, VectorTable, failed, schema};
use super::plan::lists;
use super::{IndexWork, NAME};
use lance::Dataset;
use lance::index::CreateIndexBuilder;
use lance::index::vector::VectorIndexParams;
use lance_index::IndexType;
use lance_index::vector::ivf::IvfBuildParams;
use lance_index::vector::sq::builder::SQBuildParams;
use lance_linalg::distance::MetricType;
use lance_table::format::IndexMetadata;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

/// Vectors for each list that the lists are trained on.
const SAMPLE_PER_LIST: usize = 64;
/// Rounds of training.
const TRAINING_ROUNDS: usize = 20;
/// One segment is built at a time, however many collections wait for one.
static TURN: Semaphore = Semaphore::const_new(1);
/// Numbers of fragments that no table reaches, see [`never_a_fragment`].
const NEVER_FRAGMENTS: u64 = 1 << 20;

/// A segment whose files are written and that no version names yet.
#[derive(Debug)]
pub struct BuiltIndex {
    pub(super) segment: IndexMetadata,
    /// Segments that it takes the place of.
    pub(super) replaces: Vec<Uuid>,
    /// Live rows that it covered when it was begun.
    pub rows: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// A segment that is being built on a thread of its own. Dropping it ends the work at the next opportunity.
#[derive(Debug)]
pub struct IndexBuild {
    /// The largest fragment of the version that it is built on.
    newest_fragment: u64,
    outcome: oneshot::Receiver<Result<BuiltIndex, VectorError>>,
    stop: DropGuard,
}

impl IndexBuild {
    /// The largest number of a fragment that the segment may cover. Up to it no fragments may be merged until the segment is
    /// committed.
    pub fn newest_fragment(&self) -> u64 {
        self.newest_fragment
    }

    /// Waits for the end; `None` when the work was cut short, which happens only when the process ends. May be dropped and
    /// called again.
    pub async fn ended(&mut self) -> Option<Result<BuiltIndex, VectorError>> {
        (&mut self.outcome).await.ok()
    }

    /// Ends the work, and waits until nothing is written any more.
    pub async fn cancel(self) {
        drop(self.stop);
        // Whatever came of it is not wanted. Its files go as those of a commit that never was.
        let _ = self.outcome.await;
    }
}

impl VectorTable {
    /// Begins to do `work`, which is due in this version, on a thread and in a pool of its own: training computes for a while
    /// without a pause, and neither searches nor the tasks of the runtime shall wait for it.
    pub fn begin_index(&self, work: IndexWork) -> IndexBuild {
        let (table, runtime, cancelled) = (self.clone(), Handle::current(), CancellationToken::new());
        let (send, outcome) = oneshot::channel();
        let newest_fragment = self.dataset.manifest().max_fragment_id().unwrap_or_default();
        let (stop, span) = (cancelled.clone().drop_guard(), tracing::Span::current());
        let build = move || {
            let _entered = span.entered();
            let build = async {
                tokio::select! {
                    biased;
                    () = cancelled.cancelled() => Err(VectorError::damaged("its index is not wanted any more")),
                    built = table.build_segment(work) => built,
                }
            };
            let built = match rayon::ThreadPoolBuilder::new().num_threads(threads()).build() {
                Ok(pool) => pool.install(|| runtime.block_on(build)),
                Err(error) => Err(VectorError::Threads(error.to_string())),
            };
            // Nobody waits when the collection was closed meanwhile.
            let _ = send.send(built);
        };
        if let Err(error) = std::thread::Builder::new().name("vector-index".to_owned()).spawn(build) {
            tracing::error!(error = &error as &dyn std::error::Error, "no thread could be started");
        }
        IndexBuild { newest_fragment, outcome, stop }
    }

    async fn build_segment(&self, work: IndexWork) -> Result<BuiltIndex, VectorError> {
        let _turn = TURN.acquire().await.map_err(|error| VectorError::Threads(error.to_string()))?;
        let started = Instant::now();
        let (fragments, rows) = self.fragments_of(work)?;
        let lists = IvfBuildParams {
            sample_rate: SAMPLE_PER_LIST,
            max_iters: TRAINING_ROUNDS,
            ..IvfBuildParams::new(lists(rows))
        };
        let params = VectorIndexParams::with_ivf_sq_params(MetricType::Cosine, lists, SQBuildParams::default());
        let mut dataset = Dataset::clone(&self.dataset);
        let mut segment = CreateIndexBuilder::new(&mut dataset, &[schema::VECTOR], IndexType::Vector, &params)
            .name(NAME.to_owned())
            // Another segment of that name is no obstacle.
            .replace(true)
            .fragments(fragments)
            .execute_uncommitted()
            .await
            .map_err(failed("build an index"))?;
        if let Some(covered) = segment.fragment_bitmap.as_mut() {
            covered.insert(never_a_fragment(self.version()));
        }
        let replaces = self.index.newest(work.absorbed).iter().map(|segment| segment.uuid).collect();
        Ok(BuiltIndex { segment, replaces, rows, elapsed: started.elapsed() })
    }

    /// The fragments that a new segment is to cover, and their live rows.
    fn fragments_of(&self, work: IndexWork) -> Result<(Vec<u32>, u64), VectorError> {
        let (mut fragments, mut rows) = (Vec::new(), 0);
        for fragment in self.dataset.fragments().iter() {
            if self.index.segment_of(fragment.id).is_none_or(|segment| segment >= self.index.kept(work.absorbed)) {
                let too_large = |_| VectorError::damaged(format!("fragment {} has no 32-bit number", fragment.id));
                fragments.push(u32::try_from(fragment.id).map_err(too_large)?);
                rows += fragment.num_rows().unwrap_or_default() as u64;
            }
        }
        Ok((fragments, rows))
    }
}

/// A number that no fragment has. Lance looks for deleted rows only where a segment covers a fragment that has deletions,
/// or that is gone; but once compaction has written a fragment anew without its deleted rows, the segment still holds them
/// and covers a fragment that shows no sign of it. A segment that covers a fragment that is not there is always held against
/// the live rows. The number differs from segment to segment, for no two may cover the same.
fn never_a_fragment(version: u64) -> u32 {
    u32::MAX - (version % NEVER_FRAGMENTS) as u32
}

/// Half of the cores, so that the others are left to searches.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}
