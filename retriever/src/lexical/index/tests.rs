use super::*;
use crate::filter::Properties;
use crate::hash::ContentHash;
use crate::lexical::LexicalScores;

const TEXTS: [(&str, &str); 4] = [
    ("ACL LOG", "Shows denied commands; see ERR_CONN_RESET in the log."),
    ("Eviction", "The maxmemory-policy decides which keys are evicted."),
    ("Cats", "Cats sleep all day."),
    ("Releases", "Fixed in v1.2.3 of the server."),
];

fn document(row_id: u64) -> LexicalDocument {
    let (title, body) = TEXTS[row_id as usize % TEXTS.len()];
    let chunk_hash = ContentHash::from_u128(u128::MAX - u128::from(row_id));
    let properties = Properties { document_id: format!("d{row_id}"), ..Properties::default() };
    let (title, body) = (title.to_owned(), format!("{title}\n{body}"));
    LexicalDocument { row_id, chunk_hash, title, body, properties, passage: vec![row_id as u8; 9] }
}

fn payload(version: u64) -> Payload {
    Payload {
        format: 1,
        table_id: "table".to_owned(),
        branch: String::new(),
        version,
        manifest_timestamp: 1_700_000_000_123_456_789,
        analyzer_hash: Fields::new(&[]).analyzer_hash(),
        live_rows: 4,
    }
}

fn open(dir: &Path) -> Result<LexicalIndex, LexicalError> {
    LexicalIndex::open_or_create(dir, &[], &LexicalOptions::default())
}

fn filled(dir: &Path) -> LexicalIndex {
    let mut index = open(dir).expect("an empty folder is fine");
    index.apply(&[], (0..4).map(document), &payload(7)).expect("documents can be added");
    index
}

fn found(index: &LexicalIndex, query: &str) -> Vec<u64> {
    let hits = index.searcher().search(query, 10, None).expect("the index is sound");
    assert!(hits.iter().all(|hit| hit.score > 0.0));
    hits.iter().map(|hit| hit.row_id).collect()
}

fn rows(index: &LexicalIndex) -> Vec<(u64, ContentHash)> {
    let mut rows = index.searcher().rows().expect("the index is sound");
    rows.sort();
    rows
}

#[test]
fn words_and_identifiers_are_found() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let index = filled(dir.path());
    let table: [(&str, &[u64]); 10] = [
        ("ERR_CONN_RESET", &[0]),
        ("err conn", &[0]),
        ("maxmemory-policy", &[1]),
        ("policies", &[1]),
        ("sleeping CAT", &[2]),
        ("v1.2.3", &[3]),
        ("title:cats -day +\"sleep\"", &[2]),
        ("the of and", &[]),
        ("?!*", &[]),
        ("", &[]),
    ];
    for (query, expected) in table {
        assert_eq!(found(&index, query), expected, "{query:?}");
    }
}

#[test]
fn passages_come_back_by_their_rows() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut index = filled(dir.path());
    index.apply(&[1], [document(7), document(5)], &payload(8)).expect("documents can be replaced");
    let passages = index.searcher().passages(&[7, 1, 0, 6, 5, u64::MAX]).expect("the index is sound");
    let expected = [Some(7), None, Some(0), None, Some(5), None].map(|byte| byte.map(|byte| vec![byte; 9]));
    assert_eq!(passages, expected);
}

#[test]
fn any_k_and_any_length_of_query_are_served() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let index = filled(dir.path());
    let searcher = index.searcher();
    assert!(searcher.search("cats", 0, None).expect("k = 0 is fine").is_empty());
    assert_eq!(searcher.search("cats log server", 2, None).expect("k = 2 is fine").len(), 2);
    assert_eq!(searcher.search("cats log server", usize::MAX, None).expect("any k is fine").len(), 3);
    let endless = format!("cats {}", "lorem ipsum 123 ".repeat(70_000));
    assert_eq!(searcher.search(&endless, 10, None).expect("a long query is fine").len(), 1);
}

#[test]
fn an_empty_index_finds_nothing() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let index = open(dir.path()).expect("an empty folder is fine");
    assert_eq!(found(&index, "cats"), [0; 0]);
    assert_eq!(index.payload().expect("the index is sound"), None);
    assert_eq!(index.searcher().num_docs(), 0);
}

#[test]
fn deleting_and_replacing_show_in_new_searchers_only() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut index = filled(dir.path());
    let before = index.searcher();
    let replaced = LexicalDocument { body: "Dogs bark.".to_owned(), ..document(2) };
    index.apply(&[1, 99], [replaced], &payload(8)).expect("the index is sound");
    assert_eq!(found(&index, "dogs"), [2]);
    assert_eq!(found(&index, "sleep maxmemory"), [0; 0]);
    assert_eq!(rows(&index).iter().map(|row| row.0).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(before.num_docs(), 4);
    assert_eq!(before.search("maxmemory", 5, None).expect("the old state is still there").len(), 1);
}

#[test]
fn applying_the_same_change_again_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut index = filled(dir.path());
    let before = rows(&index);
    index.apply(&[], (0..4).chain(2..4).map(document), &payload(7)).expect("the index is sound");
    assert_eq!(rows(&index), before);
}

#[test]
fn payload_and_rows_survive_reopening() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let before = rows(&filled(dir.path()));
    let index = open(dir.path()).expect("the index is sound");
    assert_eq!(index.payload().expect("the index is sound"), Some(payload(7)));
    assert_eq!(rows(&index), before);
    assert_eq!(before, (0..4).map(|row_id| (row_id, document(row_id).chunk_hash)).collect::<Vec<_>>());
    assert_eq!(found(&index, "cats"), [2]);
}

#[test]
fn one_writer_holds_the_index() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let _index = filled(dir.path());
    assert!(matches!(open(dir.path()), Err(LexicalError::Locked { .. })));
}

#[test]
fn a_folder_that_is_a_file_is_refused() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let file = dir.path().join("file");
    fs_err::write(&file, "x").expect("a file can be written");
    assert!(matches!(open(&file), Err(LexicalError::Folder { .. })));
}

/// The names of the files in `dir` that make up the index, without locks.
fn index_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(dir).expect("the folder is there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension != "lock"));
    files.sort();
    files
}

fn damage_each_file(damage: impl Fn(&Path)) {
    let sound = tempfile::tempdir().expect("a folder can be made");
    drop(filled(sound.path()));
    let names = index_files(sound.path());
    assert!(names.len() > 3, "{names:?}");
    for name in names {
        let dir = tempfile::tempdir().expect("a folder can be made");
        for file in fs_err::read_dir(sound.path()).expect("the folder is there") {
            let file = file.expect("readable");
            fs_err::copy(file.path(), dir.path().join(file.file_name())).expect("a file can be copied");
        }
        damage(&dir.path().join(name.file_name().expect("a file has a name")));
        let opened = open(dir.path()).map(|index| index.searcher().num_docs());
        assert!(matches!(opened, Err(LexicalError::Damaged { .. })), "{name:?}: {opened:?}");
    }
}

#[test]
fn a_missing_file_is_damage() {
    damage_each_file(|file| fs_err::remove_file(file).expect("the file is there"));
}

#[test]
fn a_file_cut_short_is_damage() {
    damage_each_file(|file| {
        let bytes = fs_err::read(file).expect("the file is there");
        fs_err::write(file, &bytes[..bytes.len() / 2]).expect("the file can be written");
    });
}

#[test]
fn a_changed_byte_is_damage() {
    damage_each_file(|file| {
        let mut bytes = fs_err::read(file).expect("the file is there");
        bytes[0] ^= 0x55;
        fs_err::write(file, &bytes).expect("the file can be written");
    });
}

#[test]
fn deleted_documents_soon_leave_the_statistics() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut index = open(dir.path()).expect("an empty folder is fine");
    index.apply(&[], (0..100).map(document), &payload(1)).expect("documents can be added");
    index.apply(&(0..20).collect::<Vec<_>>(), [], &payload(2)).expect("documents can be deleted");
    index.writer.wait_merging_threads().expect("merging ends");
    let index = open(dir.path()).expect("the index is sound");
    let segments = index.index.searchable_segment_metas().expect("the index is sound");
    let documents: Vec<(u32, u32)> = segments.iter().map(|meta| (meta.num_docs(), meta.max_doc())).collect();
    assert_eq!(documents, [(80, 80)]);
    assert_eq!(index.payload().expect("merging keeps the payload"), Some(payload(2)));
}

#[test]
fn an_index_of_other_declared_fields_is_damage() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    drop(filled(dir.path()));
    let lang = MetadataField { name: "lang".to_owned(), kind: crate::metadata::MetadataType::String };
    let opened = LexicalIndex::open_or_create(dir.path(), std::slice::from_ref(&lang), &LexicalOptions::default());
    assert!(matches!(opened, Err(LexicalError::Damaged { .. })));
    assert_ne!(Fields::new(&[lang]).analyzer_hash(), Fields::new(&[]).analyzer_hash());
}

#[test]
fn an_index_of_another_layout_is_damage() {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut schema = tantivy::schema::Schema::builder();
    schema.add_u64_field("other", tantivy::schema::INDEXED);
    Index::create_in_dir(dir.path(), schema.build()).expect("an index can be made");
    assert!(matches!(open(dir.path()), Err(LexicalError::Damaged { .. })));
}

#[test]
fn the_first_chunk_of_a_document_is_found_in_every_state() {
    let of = |document_id: &str, row_id: u64| {
        let properties = Properties { document_id: document_id.to_owned(), ..Properties::default() };
        LexicalDocument { properties, ..document(row_id) }
    };
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut index = open(dir.path()).expect("an empty folder is fine");
    // The chunks of one commit come in any order, and the ids of those of one document lie together.
    let first = [of("a", 3), of("b", 4), of("a", 1), of("b", 5), of("c", 6), of("a", 2)];
    index.apply(&[], first, &payload(7)).expect("documents can be added");
    let before = index.searcher();
    assert_eq!(before.beginnings(&[3, 1, 5, 4, 6]).expect("the index is sound"), [1, 1, 4, 4, 6]);
    // The document "a" is replaced, "c" is deleted, and "d" is new.
    index.apply(&[1, 2, 3, 6], [of("a", 8), of("a", 7), of("d", 9)], &payload(8)).expect("documents can be replaced");
    let after = index.searcher();
    assert_eq!(after.beginnings(&[8, 5, 9]).expect("the index is sound"), [7, 4, 9]);
    // Rows that are not there, or no more, are their own.
    assert_eq!(after.beginnings(&[3, 6, 99]).expect("the index is sound"), [3, 6, 99]);
    assert_eq!(before.beginnings(&[3, 6]).expect("an earlier state stays"), [1, 6]);
    // What one commit wrote may lie in several segments.
    index.apply(&[], [of("e", 10)], &payload(9)).expect("documents can be added");
    index.apply(&[], [of("e", 11), of("f", 12)], &payload(10)).expect("documents can be added");
    assert_eq!(index.searcher().beginnings(&[12, 11, 10]).expect("the index is sound"), [12, 10, 10]);
    assert!(after.beginnings(&[]).expect("the index is sound").is_empty());
}

/// A chunk whose words are told by a number, so that chunks share some.
fn numbered(row_id: u64, seed: u64) -> LexicalDocument {
    let words = (0..3 + seed % 7).map(|place| format!("w{}", (seed >> place) % 11));
    LexicalDocument { body: words.collect::<Vec<_>>().join(" "), title: format!("t{}", seed % 3), ..document(row_id) }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn scores_are_those_of_an_index_that_never_held_anything_else(
        history in proptest::collection::vec(proptest::collection::vec((0..40_u64, 0..1_000_u64), 1..12), 1..8),
        gone in proptest::collection::vec(0..40_u64, 0..20),
    ) {
        let (dir, fresh_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (mut index, mut fresh) = (open(dir.path()).unwrap(), open(fresh_dir.path()).unwrap());
        let mut alive = std::collections::BTreeMap::new();
        for (version, batch) in history.iter().enumerate() {
            let batch: std::collections::BTreeMap<u64, u64> = batch.iter().copied().collect();
            let ids: Vec<u64> = batch.keys().copied().collect();
            index.apply(&ids, batch.iter().map(|(id, seed)| numbered(*id, *seed)), &payload(version as u64)).unwrap();
            alive.extend(batch);
        }
        index.apply(&gone, [], &payload(99)).unwrap();
        alive.retain(|id, _| !gone.contains(id));
        fresh.apply(&[], alive.iter().map(|(id, seed)| numbered(*id, *seed)), &payload(1)).unwrap();
        for query in ["w1 w2 t0", "w3", "t1 w0 w4 w5 w6 w7"] {
            let scored = |index: &LexicalIndex| index.searcher().search_with_scores(query, 100, None).unwrap();
            let ((hits, scores), (expected, expected_scores)) = (scored(&index), scored(&fresh));
            proptest::prop_assert_eq!(hits.len(), expected.len());
            // A search for one chunk knows the scores of all the others.
            let (_, of_one) = index.searcher().search_with_scores(query, 1, None).unwrap();
            let mut known = of_one.of_rows(&(0..45).collect::<Vec<_>>());
            known.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row_id.cmp(&b.row_id)));
            proptest::prop_assert_eq!(&known, &hits);
            for hit in hits {
                let same = expected.iter().find(|other| other.row_id == hit.row_id).unwrap();
                // The order in which a chunk's terms are added up may differ.
                proptest::prop_assert!((hit.score - same.score).abs() <= 1e-5 * same.score, "{} {}", hit.score, same.score);
            }
            let mean = |scores: &LexicalScores| scores.moments().statistics().map_or(0.0, |statistics| statistics.mean());
            proptest::prop_assert!((mean(&scores) - mean(&expected_scores)).abs() < 1e-5);
        }
    }
}
