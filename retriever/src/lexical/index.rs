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
        let searcher = LexicalSearcher::new(reader.searcher(), fields.clone(), options, None)?;
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
        let before = Some(&self.searcher);
        self.searcher = LexicalSearcher::new(self.reader.searcher(), self.fields.clone(), &self.options, before)?;
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
mod tests;
