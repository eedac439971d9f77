//! Keeping one state of the index while the index goes on.
//!
//! The files of a segment never change once they are written, so a state is kept by giving its files a second name. They
//! cost space only once the index itself has dropped them.

use std::io;
use std::path::Path;

use tantivy::directory::{Directory, META_LOCK, MmapDirectory};
use tantivy::index::SegmentMeta;
use tantivy::{Index, IndexMeta, IndexReader, ReloadPolicy, TantivyError};

use super::index::{MANAGED_FILES, check_files, damaged, unreadable};
use super::schema::Fields;
use super::{LexicalError, LexicalIndex, LexicalOptions, LexicalSearcher, Payload, analyzer};
use crate::metadata::MetadataField;

/// The file in which Tantivy names the segments of an index.
const META: &str = "meta.json";
/// Merges that may end one after another while a state is being kept.
const ATTEMPTS: usize = 16;

impl LexicalIndex {
    /// Keeps the state that [`searcher`](Self::searcher) reads in `folder`, which must be empty. Where a merge has
    /// replaced segments since, the searcher is brought up to it first: the rows are the same, and the state that is kept
    /// is the one that is read, so that scores come back as they were.
    ///
    /// # Errors
    /// [`LexicalError::Folder`] if the folder cannot be written, [`LexicalError::Engine`] if the index cannot be read or
    /// does not come to rest.
    pub fn capture(&mut self, folder: &Path) -> Result<(), LexicalError> {
        for _ in 0..ATTEMPTS {
            if self.try_capture(folder)? {
                return Ok(());
            }
            self.refresh()?;
        }
        Err(TantivyError::SystemError("merges do not come to an end".to_owned()).into())
    }

    /// `false` when the searcher reads other segments than the index holds now.
    fn try_capture(&self, folder: &Path) -> Result<bool, LexicalError> {
        let index = self.engine();
        // Tantivy removes no file while this lock is held.
        let _lock = index.directory().acquire_lock(&META_LOCK).map_err(TantivyError::from)?;
        let metas = index.load_metas()?;
        if !self.searcher().reads(&metas.segments) {
            return Ok(false);
        }
        link_all(self.path(), folder, &metas)?;
        Ok(true)
    }
}

impl LexicalSearcher {
    /// Opens a state that was kept of a collection that declares `metadata_fields`, with the payload that its index had.
    ///
    /// # Errors
    /// [`LexicalError::Damaged`] if files are missing or changed, or belong to another layout.
    pub fn open(
        folder: &Path,
        metadata_fields: &[MetadataField],
        options: &LexicalOptions,
    ) -> Result<(Self, Payload), LexicalError> {
        let fields = Fields::new(metadata_fields);
        let directory = MmapDirectory::open(folder).map_err(|error| damaged(folder, error))?;
        let index = Index::open(directory).map_err(|error| unreadable(folder, error))?;
        if index.schema() != fields.schema {
            return Err(damaged(folder, "it has the fields of another version"));
        }
        index.tokenizers().register(analyzer::NAME, analyzer::english());
        check_files(folder, &index, options)?;
        let json = index.load_metas().map_err(|error| unreadable(folder, error))?.payload;
        let payload = json.ok_or_else(|| damaged(folder, "it was never committed"))?;
        let payload: Payload = serde_json::from_str(&payload).map_err(|error| damaged(folder, error))?;
        if payload.analyzer_hash != fields.analyzer_hash() {
            return Err(damaged(folder, "it was made by another text analysis"));
        }
        let reader: Result<IndexReader, _> = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into();
        let searcher = reader.map_err(|error| unreadable(folder, error))?.searcher();
        Ok((Self::new(searcher, fields, options, None)?, payload))
    }

    /// Whether it reads exactly these segments, deletions included, and in this order, which decides between equal scores
    /// and in which order scores are added up.
    fn reads(&self, segments: &[SegmentMeta]) -> bool {
        self.segments().eq(segments.iter().map(|segment| (segment.id(), segment.delete_opstamp())))
    }
}

fn link_all(from: &Path, to: &Path, metas: &IndexMeta) -> Result<(), LexicalError> {
    let failed = |source| LexicalError::Folder { path: to.to_owned(), source };
    let mut managed = vec![META.to_owned()];
    for file in metas.list_segment_files() {
        match link(&from.join(&file), &to.join(&file)) {
            Ok(()) => managed.push(file.to_string_lossy().into_owned()),
            // Tantivy names the files that a segment may have; not every segment has them all.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
    }
    // Tantivy replaces these two, so that a second name would keep an old one by chance alone: they are written anew.
    let metas = serde_json::to_vec(metas).map_err(LexicalError::Payload)?;
    let managed = serde_json::to_vec(&managed).map_err(LexicalError::Payload)?;
    fs_err::write(to.join(META), metas).map_err(failed)?;
    fs_err::write(to.join(MANAGED_FILES), managed).map_err(failed)
}

/// A second name for a file, or a copy of it where the file system knows no second names.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::hard_link(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => std::fs::copy(from, to).map(drop),
        outcome => outcome,
    }
}
