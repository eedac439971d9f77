//! Opening and writing the index.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use tantivy::directory::error::{LockError, OpenReadError};
use tantivy::indexer::LogMergePolicy;
use tantivy::{Index, IndexReader, IndexWriter, ReloadPolicy, TantivyDocument, TantivyError, Term};

use super::analyzer::{self, Words};
use super::folder::DerivedFolder;
use super::schema::Fields;
use super::{LexicalDocument, LexicalError, LexicalOptions, LexicalSearcher, Payload, properties};
use crate::failpoint::Failpoint;
use crate::metadata::MetadataField;

/// A segment is merged once this share of its documents is deleted: until then they count in the statistics that
/// scores are made from.
const MAX_DELETED_SHARE: f32 = 0.15;

/// Where Tantivy lists the files that are its own.
pub(super) const MANAGED_FILES: &str = ".managed.json";

/// The one writer of a lexical index, with a reader that sees what was committed last.
pub struct LexicalIndex {
    path: PathBuf,
    options: LexicalOptions,
    fields: Fields,
    index: Index,
    writer: IndexWriter,
    reader: IndexReader,
    searcher: LexicalSearcher,
    analyzer_hash: String,
}

impl LexicalIndex {
    /// Opens the index in `dir`, or makes an empty one if the folder is empty or missing. The collection declares
    /// `metadata_fields`.
    ///
    /// # Errors
    /// [`LexicalError::Damaged`] if files are missing, cut short or changed, or belong to another layout or to other fields;
    /// [`LexicalError::Locked`] if another writer holds it; [`LexicalError::Folder`] if the folder cannot be used;
    /// [`LexicalError::Engine`] for anything else, such as too many open files or a writer memory that is too small.
    pub fn open_or_create(
        dir: &Path,
        metadata_fields: &[MetadataField],
        options: &LexicalOptions,
    ) -> Result<Self, LexicalError> {
        let fields = Fields::new(metadata_fields);
        let index = open_files(dir, &fields)?;
        index.tokenizers().register(analyzer::NAME, analyzer::english());
        // The lock comes first: while another process writes, files may come and go.
        let writer = open_writer(dir, &index, options)?;
        check_files(dir, &index, options)?;
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let reader = reader.map_err(|error| unreadable(dir, error))?;
        let searcher = LexicalSearcher::new(reader.searcher(), fields.clone(), options)?;
        let analyzer_hash = fields.analyzer_hash();
        let index = Self {
            path: dir.to_owned(),
            options: options.clone(),
            fields,
            index,
            writer,
            reader,
            searcher,
            analyzer_hash,
        };
        index.payload()?;
        Ok(index)
    }

    /// The payload of the last commit; `None` before the first one.
    ///
    /// # Errors
    /// [`LexicalError::Damaged`] if it cannot be read.
    pub fn payload(&self) -> Result<Option<Payload>, LexicalError> {
        let metas = self.index.load_metas().map_err(|error| unreadable(&self.path, error))?;
        let Some(json) = metas.payload else { return Ok(None) };
        serde_json::from_str(&json).map(Some).map_err(|error| damaged(&self.path, error))
    }

    /// Deletes and adds documents in one commit, which is safe from the end of the process, though not from that of the
    /// machine, and visible to [`searcher`](Self::searcher) when this returns.
    ///
    /// An added document replaces one with the same row id, so repeating a call changes nothing. If it fails, the
    /// index is as it was before.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if Tantivy could not write; open the index again if that happens twice in a row.
    pub fn apply(
        &mut self,
        deleted_row_ids: &[u64],
        added: impl IntoIterator<Item = LexicalDocument>,
        payload: &Payload,
    ) -> Result<(), LexicalError> {
        let payload = serde_json::to_string(payload).map_err(LexicalError::Payload)?;
        if let Err(error) = self.write(deleted_row_ids, added, &payload) {
            self.writer.rollback()?;
            return Err(error.into());
        }
        self.refresh()
    }

    /// Brings the searcher to the segments that the index holds now.
    pub(super) fn refresh(&mut self) -> Result<(), LexicalError> {
        self.reader.reload()?;
        self.searcher = LexicalSearcher::new(self.reader.searcher(), self.fields.clone(), &self.options)?;
        Ok(())
    }

    pub(super) fn engine(&self) -> &Index {
        &self.index
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The state after the last commit.
    pub fn searcher(&self) -> LexicalSearcher {
        self.searcher.clone()
    }

    /// Changes whenever a new version of this code would index documents differently, so that an index made by an older
    /// version has to be built again.
    pub fn analyzer_hash(&self) -> &str {
        &self.analyzer_hash
    }

    /// Waits for merges that run in the background, so that nothing touches the folder afterwards.
    ///
    /// # Errors
    /// [`LexicalError::Engine`] if one of them failed; what was committed is whole all the same.
    pub fn close(self) -> Result<(), LexicalError> {
        Ok(self.writer.wait_merging_threads()?)
    }

    fn write(
        &mut self,
        deleted_row_ids: &[u64],
        added: impl IntoIterator<Item = LexicalDocument>,
        payload: &str,
    ) -> Result<(), TantivyError> {
        for &row_id in deleted_row_ids {
            self.writer.delete_term(Term::from_field_u64(self.fields.row_id, row_id));
        }
        for document in added {
            self.writer.delete_term(Term::from_field_u64(self.fields.row_id, document.row_id));
            self.writer.add_document(self.encode(&document))?;
        }
        let mut commit = self.writer.prepare_commit()?;
        commit.set_payload(payload);
        Failpoint::InIndexCommit.reach();
        commit.commit()?;
        Ok(())
    }

    /// The words of a document's language, or of the collection's where it names none.
    fn words(&self, language: &str) -> Words {
        Words::of_tag(if language.is_empty() { &self.options.language } else { language })
    }

    fn encode(&self, document: &LexicalDocument) -> TantivyDocument {
        let hash = document.chunk_hash.as_u128();
        let mut encoded = TantivyDocument::new();
        encoded.add_u64(self.fields.row_id, document.row_id);
        encoded.add_u64(self.fields.chunk_hash_high, (hash >> 64) as u64);
        encoded.add_u64(self.fields.chunk_hash_low, hash as u64);
        let words = self.words(&document.properties.language);
        for (field, text) in [(self.fields.title, &document.title), (self.fields.body, &document.body)] {
            encoded.add_pre_tokenized_text(field, analyzer::analysed(words, text));
        }
        encoded.add_bytes(self.fields.passage, &document.passage);
        properties::encode(&self.fields, &document.properties, &mut encoded);
        encoded
    }
}

fn open_files(dir: &Path, fields: &Fields) -> Result<Index, LexicalError> {
    let folder = |source| LexicalError::Folder { path: dir.to_owned(), source };
    fs_err::create_dir_all(dir).map_err(folder)?;
    let empty = fs_err::read_dir(dir).map_err(folder)?.next().is_none();
    let directory = DerivedFolder::open(dir).map_err(|error| damaged(dir, error))?;
    if empty {
        return Ok(Index::create(directory, fields.schema.clone(), tantivy::IndexSettings::default())?);
    }
    // Without this list Tantivy would open the index, but check and clean up nothing.
    if !dir.join(MANAGED_FILES).exists() {
        return Err(damaged(dir, format!("{MANAGED_FILES} is missing")));
    }
    let index = Index::open(directory).map_err(|error| unreadable(dir, error))?;
    if index.schema() != fields.schema {
        return Err(damaged(dir, "it has the fields of another version"));
    }
    Ok(index)
}

fn open_writer(dir: &Path, index: &Index, options: &LexicalOptions) -> Result<IndexWriter, LexicalError> {
    let opened = index.writer_with_num_threads(1, options.writer_memory_bytes);
    let writer: IndexWriter = opened.map_err(|error| match error {
        TantivyError::LockFailure(LockError::LockBusy, _) => LexicalError::Locked { path: dir.to_owned() },
        error => error.into(),
    })?;
    let mut merging = LogMergePolicy::default();
    merging.set_del_docs_ratio_before_merge(MAX_DELETED_SHARE);
    writer.set_merge_policy(Box::new(merging));
    Ok(writer)
}

pub(super) fn check_files(dir: &Path, index: &Index, options: &LexicalOptions) -> Result<(), LexicalError> {
    if !options.verify_checksums {
        return Ok(());
    }
    // Tantivy reads the length of a file's footer from the file itself, and panics where a torn one names too much.
    let validated = catch_unwind(AssertUnwindSafe(|| index.validate_checksum()));
    let validated = validated.map_err(|_| damaged(dir, "the end of a file is torn"))?;
    let changed = validated.map_err(|error| unreadable(dir, error))?;
    match changed.iter().min() {
        Some(file) => Err(damaged(dir, format!("the checksum of {} does not fit", file.display()))),
        None => Ok(()),
    }
}

/// What kept Tantivy from reading the index: damage, unless the operating system refused to read a file that is there.
pub(super) fn unreadable(dir: &Path, error: TantivyError) -> LexicalError {
    let io_error = match &error {
        TantivyError::IoError(io_error) => Some(io_error),
        TantivyError::OpenReadError(OpenReadError::IoError { io_error, .. }) => Some(io_error),
        _ => None,
    };
    let refused = |error: &io::Error| error.raw_os_error().is_some() && error.kind() != io::ErrorKind::NotFound;
    if io_error.is_some_and(|error| refused(error)) { error.into() } else { damaged(dir, error) }
}

pub(super) fn damaged(path: &Path, reason: impl ToString) -> LexicalError {
    LexicalError::Damaged { path: path.to_owned(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Properties;
    use crate::hash::ContentHash;

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
}
