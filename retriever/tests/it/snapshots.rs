//! Earlier states: a search as of one gives what it gave at the time, on both legs, until retention lets go of it.

use crate::service::{DOCS, Running, plain, search};
use proptest::prelude::*;
use std::path::Path;
use std::time::Duration;
use trivium_proto::retriever::v1::as_of::State;
use trivium_proto::retriever::v1::*;
use trivium_retriever::Options;
use trivium_service_kit::{Error, Reason};

/// What a search said, apart from the time that it took.
type Said = Vec<(String, f64, Vec<LegScore>)>;

fn said(response: SearchResponse) -> (u64, Said) {
    let hits = response.hits.into_iter().map(|hit| (hit.chunk_id + &hit.text, hit.score, hit.legs));
    (response.snapshot.unwrap().version, hits.collect())
}

fn as_of(query: &str, legs: &[Leg], state: Option<State>) -> SearchRequest {
    SearchRequest {
        as_of: state.map(|state| AsOf { state: Some(state) }),
        legs: legs.iter().map(|leg| (*leg).into()).collect(),
        k: Some(100),
        ..search(query)
    }
}

const EACH: [&[Leg]; 3] = [&[Leg::Lexical], &[Leg::Semantic], &[]];

/// What each leg and both together say of two queries.
async fn everything(running: &mut Running, state: Option<State>) -> Vec<(u64, Said)> {
    let mut all = Vec::new();
    for legs in EACH {
        for query in ["common words", "apple pear"] {
            all.push(said(running.search(as_of(query, legs, state.clone())).await.unwrap()));
        }
    }
    all
}

async fn refused(running: &mut Running, state: State) -> Error {
    running.search(as_of("words", &[], Some(state))).await.unwrap_err()
}

fn keep(newest: usize) -> impl Fn(&mut Options) {
    move |options| {
        options.snapshots_newest = newest;
        options.snapshots_interval_ms = 0;
        options.cleanup_commits = 1;
    }
}

async fn keeping(newest: usize) -> Running {
    let mut running = Running::start_with(keep(newest)).await;
    running.create(DOCS, Vec::new()).await.unwrap();
    running
}

async fn listed(running: &mut Running) -> Vec<RetainedSnapshot> {
    let request = ListSnapshotsRequest { collection: DOCS.into() };
    running.client.list_snapshots(request).await.unwrap().into_inner().snapshots
}

async fn versions(running: &mut Running) -> Vec<u64> {
    listed(running).await.into_iter().map(|kept| kept.snapshot.unwrap().version).collect()
}

async fn tag(running: &mut Running, tag: &str, version: u64) -> Result<RetainedSnapshot, Error> {
    let request = TagSnapshotRequest { collection: DOCS.into(), tag: tag.into(), version };
    Ok(running.client.tag_snapshot(request).await.map_err(Error::from)?.into_inner().snapshot.unwrap())
}

async fn untag(running: &mut Running, tag: &str) -> Result<(), Error> {
    let request = DeleteTagRequest { collection: DOCS.into(), tag: tag.into() };
    running.client.delete_tag(request).await.map(drop).map_err(Error::from)
}

/// Names in a folder of the collection.
fn names(folder: &Path, below: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("collections").join(DOCS).join(below)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn table(folder: &Path) -> String {
    names(folder, "").into_iter().find(|name| name.ends_with(".lance")).unwrap()
}

/// Versions of the table whose manifests are there.
fn manifests(folder: &Path) -> usize {
    let names = names(folder, &format!("{}/_versions", table(folder)));
    names.iter().filter(|name| name.ends_with(".manifest")).count()
}

/// One change to the collection; the numbers choose documents and words.
#[derive(Debug, Clone)]
enum Step {
    Put(Vec<(u8, u8)>),
    Delete(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0..12_u8, 0..6_u8), 1..6).prop_map(Step::Put),
        1 => (0..12_u8).prop_map(Step::Delete),
    ]
}

fn document((id, content): (u8, u8)) -> Document {
    let words = ["apple", "pear common", "plum words words", "fig apple apple", "common quince", "pear pear words"];
    plain(&format!("d{id}"), &format!("{} and {}", words[content as usize], words[(content + id) as usize % 6]))
}

async fn take(running: &mut Running, step: Step) {
    match step {
        Step::Put(mut documents) => {
            documents.sort_by_key(|(id, _)| *id);
            documents.dedup_by_key(|(id, _)| *id);
            running.upsert(documents.into_iter().map(document).collect()).await;
        }
        Step::Delete(id) => drop(running.delete(&[&format!("d{id}")]).await),
    }
}

/// Writes a history, and compares each state with itself: right away, in the end, and after a restart.
async fn a_history_comes_back(steps: Vec<Step>) {
    let mut running = keeping(100).await;
    let mut history = Vec::new();
    for step in steps {
        take(&mut running, step).await;
        let now = everything(&mut running, None).await;
        assert_eq!(everything(&mut running, Some(State::Version(now[0].0))).await, now);
        history.push(now);
    }
    for round in 0..2 {
        for then in &history {
            assert_eq!(everything(&mut running, Some(State::Version(then[0].0))).await, *then, "round {round}");
        }
        running = running.restart_with(keep(100)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn every_kept_state_gives_what_it_gave(steps in prop::collection::vec(any_step(), 1..14)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(a_history_comes_back(steps));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_and_deletions_change_no_score_of_an_earlier_state() {
    let mut running = keeping(3).await;
    for n in 0..6 {
        let documents = (0..10).map(|id| document((id, (id + n) % 6)));
        running.upsert(documents.collect()).await;
    }
    let then = everything(&mut running, None).await;
    assert_eq!(tag(&mut running, "then", 0).await.unwrap().snapshot.unwrap().version, then[0].0);
    // More commits than Tantivy leaves segments unmerged, and deletions enough for it to rewrite them.
    for n in 0..30 {
        let documents = (0..10).map(|id| document((id, (id + n) % 6)));
        running.upsert(documents.chain([plain(&format!("new{n}"), "common apple")]).collect()).await;
        running.delete(&[&format!("new{}", n / 2)]).await;
    }
    for _ in 0..2 {
        let state = State::Tag("then".into());
        assert_eq!(everything(&mut running, Some(state)).await, then);
        running = running.restart_with(keep(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_beyond_its_memory_has_earlier_states_too() {
    let small = |options: &mut Options| {
        keep(10)(options);
        options.exact_vectors_bytes = 0;
    };
    let mut running = Running::start_with(small).await;
    running.create(DOCS, Vec::new()).await.unwrap();
    running.upsert((0..8).map(|id| document((id, id % 6))).collect()).await;
    let then = everything(&mut running, None).await;
    running.upsert((0..8).map(|id| document((id, (id + 1) % 6))).collect()).await;
    // Whether vectors are held in memory now does not change how that state is searched.
    for change in [&small as &dyn Fn(&mut Options), &keep(10)] {
        assert_eq!(everything(&mut running, Some(State::Version(then[0].0))).await, then);
        running = running.restart_with(change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_keeps_the_newest_and_the_tagged() {
    let mut running = keeping(3).await;
    let mut written = Vec::new();
    for n in 0..6 {
        written.push(running.upsert(vec![plain("a", &format!("words {n}"))]).await.snapshot.unwrap().version);
        if n == 1 {
            tag(&mut running, "early", 0).await.unwrap();
        }
    }
    assert_eq!(versions(&mut running).await, [written[5], written[4], written[3], written[1]]);
    let kept = listed(&mut running).await;
    assert_eq!((kept[0].published, kept[0].documents, kept[0].chunks), (true, 1, 1));
    assert_eq!((kept[3].published, kept[3].tags.as_slice()), (false, ["early".to_owned()].as_slice()));
    let error = refused(&mut running, State::Version(written[2])).await;
    assert_eq!((error.reason(), error.field()), (Reason::SnapshotExpired, Some("as_of")), "{error}");
    let there =
        format!("there are versions {}, {} to {} (tags: early = {})", written[1], written[3], written[5], written[1]);
    assert!(error.message().ends_with(&there), "{error}");
    // What is not kept cannot be tagged either.
    let error = tag(&mut running, "late", written[0]).await.unwrap_err();
    assert_eq!((error.reason(), error.field()), (Reason::SnapshotExpired, Some("version")), "{error}");
    let folder = running.stop().await;
    let kept: Vec<_> = names(folder.path(), "snapshots").into_iter().filter(|name| name != "tags.json").collect();
    let mut expected: Vec<_> =
        [written[1], written[3], written[4], written[5]].map(|version| version.to_string()).into();
    expected.sort();
    assert_eq!(kept, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_versions_that_are_not_kept_go() {
    let mut running = keeping(2).await;
    for n in 0..12 {
        running.upsert(vec![plain("a", &format!("words {n}"))]).await;
    }
    // The removal runs beside the writer, and ends before the service does.
    let mut restarted = running.restart_with(keep(2)).await;
    let kept = versions(&mut restarted).await;
    assert_eq!(kept.len(), 2);
    let folder = restarted.stop().await;
    assert!((2..=3).contains(&manifests(folder.path())), "{}", manifests(folder.path()));
    let data = names(folder.path(), &format!("{}/data", table(folder.path())));
    assert!(data.len() <= 3, "{data:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_move_and_go() {
    let mut running = keeping(1).await;
    let first = running.upsert(vec![plain("a", "first words")]).await.snapshot.unwrap().version;
    assert_eq!(tag(&mut running, "here", 0).await.unwrap().tags, ["here"]);
    tag(&mut running, "also", first).await.unwrap();
    let second = running.upsert(vec![plain("a", "second words")]).await.snapshot.unwrap().version;
    assert_eq!(tag(&mut running, "here", second).await.unwrap().tags, ["here"]);
    let mut running = running.restart_with(keep(1)).await;
    for (name, version) in [("here", second), ("also", first)] {
        let found = running.search(as_of("words", &[], Some(State::Tag(name.into())))).await.unwrap();
        assert_eq!(found.snapshot.unwrap().version, version, "{name}");
    }
    untag(&mut running, "also").await.unwrap();
    assert_eq!(versions(&mut running).await, [second]);
    assert_eq!(refused(&mut running, State::Version(first)).await.reason(), Reason::SnapshotExpired);
    let error = untag(&mut running, "also").await.unwrap_err();
    assert_eq!((error.reason(), error.field()), (Reason::SnapshotNotFound, Some("tag")), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_means_the_newest_state_before_it() {
    let mut running = keeping(10).await;
    let first = running.upsert(vec![plain("a", "first words")]).await.snapshot.unwrap();
    let second = running.upsert(vec![plain("a", "second words")]).await.snapshot.unwrap();
    let moment = first.committed_at.unwrap();
    let later = prost_types::Timestamp { seconds: moment.seconds + 1_000_000, ..moment };
    for (time, version) in
        [(moment, first.version), (second.committed_at.unwrap(), second.version), (later, second.version)]
    {
        let found = running.search(as_of("words", &[], Some(State::Time(time)))).await.unwrap();
        assert_eq!(found.snapshot.unwrap().version, version);
    }
    let before = prost_types::Timestamp { seconds: moment.seconds - 1_000_000, ..moment };
    assert_eq!(refused(&mut running, State::Time(before)).await.reason(), Reason::SnapshotExpired);
}

#[tokio::test(flavor = "multi_thread")]
async fn states_that_never_were_and_names_that_cannot_be_are_refused() {
    let mut running = keeping(2).await;
    let published = running.upsert(vec![plain("a", "words")]).await.snapshot.unwrap().version;
    let cases = [
        (State::Version(published + 1), Reason::SnapshotNotFound, "as_of"),
        (State::Version(u64::MAX), Reason::SnapshotNotFound, "as_of"),
        (State::Version(0), Reason::FieldOutOfRange, "as_of.version"),
        (State::Tag("unknown".into()), Reason::SnapshotNotFound, "as_of"),
        (State::Tag("../../etc".into()), Reason::FieldInvalid, "as_of.tag"),
    ];
    for (state, reason, field) in cases {
        let error = refused(&mut running, state).await;
        assert_eq!((error.reason(), error.field()), (reason, Some(field)), "{error}");
    }
    for name in ["", "7", "a b", "..", "tags.json/x"] {
        for error in [tag(&mut running, name, 0).await.unwrap_err(), untag(&mut running, name).await.unwrap_err()] {
            assert_eq!((error.reason(), error.field()), (Reason::FieldInvalid, Some("tag")), "{name}: {error}");
        }
    }
    let error = tag(&mut running, "future", published + 1).await.unwrap_err();
    assert_eq!((error.reason(), error.field()), (Reason::SnapshotNotFound, Some("version")), "{error}");
    let unknown = ListSnapshotsRequest { collection: "unknown".into() };
    let error = Error::from(running.client.list_snapshots(unknown).await.unwrap_err());
    assert_eq!((error.reason(), error.field()), (Reason::CollectionNotFound, Some("collection")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_index_that_is_damaged_is_made_anew() {
    let mut running = keeping(10).await;
    let first = running.upsert(vec![plain("a", "first words")]).await.snapshot.unwrap().version;
    running.upsert(vec![plain("a", "second words")]).await;
    let damage = |folder: &Path| {
        let lexical = folder.join("collections").join(DOCS).join("snapshots").join(first.to_string()).join("lexical");
        let files = std::fs::read_dir(lexical).unwrap().map(|entry| entry.unwrap().path());
        // A file anew, for the old one has a second name in the published index.
        files.filter(|path| path.extension().is_some_and(|extension| extension == "store")).for_each(|path| {
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, "torn").unwrap();
        });
    };
    let mut running = running.restart_after(damage).await;
    for leg in [Leg::Lexical, Leg::Semantic] {
        let found = running.search(as_of("first words", &[leg], Some(State::Version(first)))).await.unwrap();
        assert_eq!((found.hits.len(), found.hits[0].text.as_str()), (1, "first words"), "{leg:?}");
    }
    assert_eq!(running.check().await.problem_count, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_crash_left_unfinished_is_cleared_away() {
    let mut running = keeping(10).await;
    let first = running.upsert(vec![plain("a", "first words")]).await.snapshot.unwrap().version;
    let second = running.upsert(vec![plain("a", "second words")]).await.snapshot.unwrap().version;
    let meddle = |folder: &Path| {
        let snapshots = folder.join("collections").join(DOCS).join("snapshots");
        std::fs::create_dir(snapshots.join(".new-1")).unwrap();
        std::fs::remove_file(snapshots.join(first.to_string()).join("snapshot.json")).unwrap();
        std::fs::remove_dir_all(snapshots.join(second.to_string())).unwrap();
        std::fs::create_dir(snapshots.join("999")).unwrap();
    };
    let mut running = running.restart_after(meddle).await;
    let kept = versions(&mut running).await;
    assert!(kept.contains(&second) && !kept.contains(&first), "{kept:?}");
    assert_eq!(refused(&mut running, State::Version(first)).await.reason(), Reason::SnapshotExpired);
    let snapshots = running.folder().join("collections").join(DOCS).join("snapshots");
    assert!(!snapshots.join(".new-1").exists() && !snapshots.join("999").exists());
    assert!(snapshots.join(second.to_string()).exists(), "the published state is kept from now on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_may_be_deleted_while_it_is_searched() {
    let mut running = keeping(10).await;
    let first = running.upsert((0..50).map(|n| plain(&format!("d{n}"), "some words")).collect()).await;
    let first = first.snapshot.unwrap().version;
    running.upsert((0..50).map(|n| plain(&format!("d{n}"), "other words")).collect()).await;
    let searches = (0..8).map(|n| {
        let mut client = running.client.clone();
        tokio::spawn(async move {
            loop {
                let state = (n % 2 == 0).then_some(State::Version(first));
                match client.search(as_of("words", &[], state)).await {
                    Ok(response) => assert_eq!(response.into_inner().hits.len(), 50),
                    Err(status) => return Error::from(status).reason(),
                }
            }
        })
    });
    let searches: Vec<_> = searches.collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.client.delete_collection(DeleteCollectionRequest { name: DOCS.into() }).await.unwrap();
    for search in searches {
        assert_eq!(search.await.unwrap(), Reason::CollectionNotFound);
    }
}
