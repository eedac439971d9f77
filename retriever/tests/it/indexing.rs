//! Collections above their budget of memory: their vectors are indexed in the background, and nobody notices but by the time
//! that a search takes.

use crate::service::{DOCS, Running, options, plain};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use trivium_retriever::Options;
use trivium_retriever::collection::{
    AsOf, Catalog, Change, Collection, CollectionSpec, EmbedderRef, PreparedDocument, Published,
};
use trivium_retriever::filter::Filter;
use trivium_retriever::hash::ContentHash;
use trivium_retriever::vector::{ChunkRow, DocumentRow, VectorHit};

const DIMENSION: usize = 32;
/// Rows that a search may compare one by one.
const TAIL: u64 = 200;
/// Far longer than any index of these tests takes.
const PATIENCE: Duration = Duration::from_secs(300);

fn above_the_budget(options: &mut Options) {
    options.exact_vectors_bytes = 0;
    options.index_tail_rows = TAIL;
}

/// A collection without a service around it.
struct World {
    folder: Arc<TempDir>,
    catalog: Catalog,
    collection: Arc<Collection>,
}

impl World {
    async fn new() -> Self {
        Self::with(above_the_budget).await
    }

    async fn with(change: impl FnOnce(&mut Options)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let catalog = open(folder.path(), change).await;
        let embedder = EmbedderRef { name: "given".into(), version: "1".into() };
        let spec = CollectionSpec::new(DOCS, embedder, DIMENSION, Vec::new());
        let collection = catalog.create(spec, false).await.unwrap();
        Self { folder, catalog, collection }
    }

    async fn restart(self, change: impl FnOnce(&mut Options)) -> Self {
        let Self { folder, catalog, collection } = self;
        catalog.close().await;
        drop((catalog, collection));
        let catalog = open(folder.path(), change).await;
        let collection = catalog.get(DOCS).unwrap();
        Self { folder, catalog, collection }
    }

    async fn write(&self, numbers: impl Iterator<Item = u32>) {
        self.collection.write(numbers.map(document).collect()).await.unwrap();
    }

    async fn delete(&self, numbers: impl Iterator<Item = u32>) {
        let changes = numbers.map(|number| Change::Delete { document_id: id(number) }).collect();
        self.collection.write(changes).await.unwrap();
    }

    /// The published state, once few enough rows are in no index.
    async fn indexed(&self) -> Arc<Published> {
        let indexed = async {
            loop {
                let published = self.collection.published();
                if published.table.unindexed_rows() <= TAIL && published.table.index_segments() > 0 {
                    return published;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, indexed).await.expect("the rows are indexed")
    }

    /// What a search finds now.
    async fn found(&self, query: &[f32], k: usize, filter: Option<&Filter>) -> Vec<VectorHit> {
        self.collection.published().table.nearest(query, k, filter).await.unwrap()
    }

    async fn is_sound(&self) {
        let report = self.collection.check().await.unwrap();
        assert_eq!(report.problems.listed, [""; 0]);
    }
}

async fn open(folder: &Path, change: impl FnOnce(&mut Options)) -> Catalog {
    let mut options = options(folder);
    change(&mut options);
    Catalog::open(folder, options.collections()).await.unwrap()
}

fn id(number: u32) -> String {
    format!("d{number:05}")
}

/// Numbers from -1 to 1, the same for the same seed.
fn noise(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1_u64 << 23) as f32 - 1.0
    })
}

/// Vectors around forty centres.
fn vector(number: u32) -> Vec<f32> {
    let centre = noise(u64::from(number % 40) + 1_000_000);
    let values: Vec<f32> = centre.zip(noise(u64::from(number) + 1)).take(DIMENSION).map(|(a, b)| a + 0.6 * b).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.into_iter().map(|value| value / length).collect()
}

/// A query near a centre, and like no row.
fn query(number: u32) -> Vec<f32> {
    vector(number + 1_000_000)
}

fn document(number: u32) -> Change {
    with_vector(number, vector(number))
}

fn with_vector(number: u32, vector: Vec<f32>) -> Change {
    // Another vector is another document: one that did not change would not be written.
    let bits = vector.first().map_or(0, |value| value.to_bits());
    let document_hash = ContentHash::from_u128(u128::from(number + 1) << 32 | u128::from(bits));
    let document = DocumentRow {
        document_id: id(number),
        title: String::new(),
        uri: String::new(),
        content_type: "text/plain".into(),
        language: if number.is_multiple_of(7) { "de".into() } else { String::new() },
        declared: Vec::new(),
        metadata_json: "{}".into(),
        document_hash,
    };
    let row = ChunkRow {
        document: Arc::new(document),
        chunk_id: format!("{}#0", id(number)),
        chunk_no: 0,
        char_start: 0,
        char_end: 1,
        heading_path: Vec::new(),
        text: "x".into(),
        index_text: format!("common number{number}"),
        chunk_hash: document_hash,
        vector,
        token_vectors: None,
    };
    Change::Put(PreparedDocument { document_id: id(number), document_hash, rows: vec![row] })
}

/// Of the ten nearest rows, the share that a search finds, over many queries.
async fn recall(published: &Published, filter: Option<&Filter>) -> f64 {
    let (mut found, mut all) = (0, 0);
    for number in 0..50 {
        let query = query(number);
        let nearest = published.table.nearest_of_all(&query, 10, filter).await.unwrap();
        let served = published.table.nearest(&query, 10, filter).await.unwrap();
        let served: BTreeSet<u64> = served.iter().map(|hit| hit.row_id).collect();
        all += nearest.len();
        found += nearest.iter().filter(|hit| served.contains(&hit.row_id)).count();
    }
    f64::from(found as u32) / f64::from(all as u32)
}

fn ids(hits: &[VectorHit]) -> BTreeSet<u64> {
    hits.iter().map(|hit| hit.row_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exceeds_the_budget_is_indexed_and_found() {
    let world = World::new().await;
    for batch in 0..8 {
        world.write(batch * 400..(batch + 1) * 400).await;
    }
    let published = world.indexed().await;
    assert!(recall(&published, None).await >= 0.98);
    let german = Filter::parse("language = \"de\"", &[]).unwrap();
    assert!(recall(&published, Some(&german)).await >= 0.98);
    // A similarity is that of the vectors, and not of their codes.
    let exact = published.table.nearest_of_all(&query(3), 5, None).await.unwrap();
    let served = published.table.nearest(&query(3), 5, None).await.unwrap();
    for (exact, served) in exact.iter().zip(&served) {
        assert!((exact.similarity - served.similarity).abs() < 1e-5, "{exact:?} {served:?}");
    }
    // As many as are asked for, even where the lists that are looked at first hold fewer; and all that there are.
    assert_eq!(world.found(&query(1), 3_200, None).await.len(), 3_200);
    world.is_sound().await;
    world.catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_are_found_at_once_whether_indexed_or_not() {
    let world = World::new().await;
    world.write(0..1_000).await;
    let first = world.indexed().await;
    assert_eq!(first.table.unindexed_rows(), 0);
    world.write(1_000..1_100).await;
    assert_eq!(world.collection.published().table.unindexed_rows(), 100);
    let own = |number: u32| vector(number);
    for number in [0, 999, 1_000, 1_099] {
        assert!(world.found(&own(number), 1, None).await[0].similarity > 0.999, "{number}");
    }
    world.delete([5, 1_005].into_iter()).await;
    for number in [5, 1_005] {
        assert!(world.found(&own(number), 1, None).await[0].similarity < 0.999, "{number}");
    }
    // A replaced document is found by its new vector alone.
    world.collection.write(vec![with_vector(6, own(5))]).await.unwrap();
    assert!(world.found(&own(5), 1, None).await[0].similarity > 0.999);
    assert!(world.found(&own(6), 1, None).await[0].similarity < 0.999);
    let filter = Filter::parse("document_id IN (\"d00014\", \"d00021\", \"d01001\", \"d01005\")", &[]).unwrap();
    assert_eq!(world.found(&query(2), 10, Some(&filter)).await.len(), 3);
    // Rows without a direction are near to nothing, and are no obstacle.
    world
        .collection
        .write((2_000..2_300).map(|number| with_vector(number, vec![0.0; DIMENSION])).collect())
        .await
        .unwrap();
    let published = world.indexed().await;
    assert!(recall(&published, None).await >= 0.98);
    assert!(world.found(&[0.0; DIMENSION], 3, None).await.iter().all(|hit| hit.similarity == 0.0));
    world.is_sound().await;
    world.catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_deleted_stay_away_when_fragments_are_merged() {
    const COMMITS: u32 = 20;
    let never = |options: &mut Options| {
        options.exact_vectors_bytes = 0;
        options.index_tail_rows = u64::MAX;
    };
    let world = World::with(never).await;
    for commit in 0..COMMITS {
        world.write(commit * 20..(commit + 1) * 20).await;
    }
    // One segment covers all of these fragments.
    let world = world.restart(above_the_budget).await;
    let before = world.indexed().await;
    assert_eq!((before.table.index_segments(), before.table.unindexed_rows()), (1, 0));
    assert_eq!(before.table.fragments(), COMMITS as usize);
    world.delete((0..COMMITS * 20).filter(|number| number.is_multiple_of(3))).await;
    let eager = |options: &mut Options| {
        above_the_budget(options);
        options.compact_fragments = 16;
    };
    let world = world.restart(eager).await;
    // Commits after which fragments of the index are merged, without their deleted rows.
    for number in 1_000..1_003 {
        world.write(number..number + 1).await;
    }
    let after = world.collection.published();
    assert!(after.table.fragments() < before.table.fragments(), "{}", after.table.fragments());
    assert!(after.table.index_segments() > 0 && after.table.unindexed_rows() < after.chunks);
    let live: BTreeSet<u64> = after.table.scan_keys().await.unwrap().iter().map(|key| key.place.row_id).collect();
    for number in 0..10 {
        let found = world.found(&query(number), 500, None).await;
        assert_eq!(ids(&found), live, "every live row, and no other");
        assert_eq!(found.len(), live.len(), "each once");
    }
    world.is_sound().await;
    world.catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_survives_a_restart_and_goes_on_growing() {
    let world = World::new().await;
    world.write(0..900).await;
    let before = world.indexed().await;
    let found = world.found(&query(7), 20, None).await;
    let world = world.restart(above_the_budget).await;
    let after = world.collection.published();
    assert_eq!((after.version(), after.table.index_segments()), (before.version(), 1));
    assert_eq!(world.found(&query(7), 20, None).await, found);
    // What a start finds to do is done without a write.
    let world = world.restart(|options| options.exact_vectors_bytes = u64::MAX).await;
    world.write(900..1_300).await;
    assert_eq!(world.collection.published().table.unindexed_rows(), 400);
    let world = world.restart(above_the_budget).await;
    let grown = world.indexed().await;
    assert_eq!((grown.table.index_segments(), grown.table.unindexed_rows()), (2, 0));
    assert!(recall(&grown, None).await >= 0.98);
    // Segments that are not much larger than what comes give way to it.
    world.write(1_300..2_400).await;
    let grown = world.indexed().await;
    assert_eq!((grown.table.index_segments(), grown.table.unindexed_rows()), (1, 0));
    assert!(recall(&grown, None).await >= 0.98);
    world.is_sound().await;
    world.catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_state_is_searched_as_it_was() {
    let world = World::new().await;
    world.write(0..600).await;
    let then = world.indexed().await;
    world.collection.tag("then", Some(then.version())).await.unwrap();
    let found = world.found(&query(9), 30, None).await;
    world.delete(0..300).await;
    world.write(1_000..2_000).await;
    world.indexed().await;
    let world = world.restart(above_the_budget).await;
    let earlier = world.collection.as_of(&AsOf::Tag("then".into())).await.unwrap();
    assert_eq!(earlier.table.nearest(&query(9), 30, None).await.unwrap(), found);
    world.catalog.close().await;
}

/// Folders of segments of the index.
fn segments(folder: &Path) -> BTreeSet<String> {
    let tables = std::fs::read_dir(folder.join("collections").join(DOCS)).unwrap();
    let indices = tables.map(|entry| entry.unwrap().path().join("_indices")).filter(|path| path.is_dir());
    let segments = indices.flat_map(|path| std::fs::read_dir(path).unwrap());
    segments.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_leaves_nothing_of_the_index_that_was() {
    let world = World::new().await;
    world.write(0..500).await;
    world.indexed().await;
    let before = segments(world.folder.path());
    assert!(!before.is_empty());
    let purged = world.collection.purge(vec![id(3)]).await.unwrap();
    assert_eq!((purged.deleted, purged.published.table.index_segments()), (1, 0));
    assert!(world.found(&vector(3), 1, None).await[0].similarity < 0.999);
    let published = world.indexed().await;
    assert_eq!(published.chunks, 499);
    assert!(segments(world.folder.path()).is_disjoint(&before));
    world.is_sound().await;
    world.catalog.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_shrinks_or_is_deleted_is_no_obstacle() {
    let world = World::new().await;
    world.write(0..500).await;
    world.indexed().await;
    world.delete(0..500).await;
    assert!(world.found(&query(0), 5, None).await.is_empty());
    world.write(600..610).await;
    assert_eq!(world.found(&query(0), 50, None).await.len(), 10);
    // An index is being built, or about to be.
    world.write(1_000..3_000).await;
    world.catalog.delete_of("", DOCS).await.unwrap();
    assert!(world.catalog.get(DOCS).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_indexes_beside_its_searches() {
    let mut running = Running::start_with(|options| {
        above_the_budget(options);
        options.index_tail_rows = 4;
    })
    .await;
    running.create(DOCS, Vec::new()).await.unwrap();
    let names: Vec<String> = (0..40).map(|number| format!("d{number:02}")).collect();
    running.upsert(names.iter().map(|name| plain(name, &format!("common {name}"))).collect()).await;
    for _ in 0..3 {
        let leg = trivium_proto::retriever::v1::Leg::Semantic;
        assert_eq!(running.found_by(leg, "common").await, names);
        running.upsert(vec![plain(&names[7], "common again")]).await;
        running = running
            .restart_with(|options| {
                above_the_budget(options);
                options.index_tail_rows = 4;
            })
            .await;
    }
    assert_eq!(running.check().await.problem_count, 0);
}
