//! What a collection was made as, and the file that says so.

use super::{CollectionError, files};
use crate::context::DOCUMENT_CONTEXT_PERCENT;
use crate::metadata::MetadataField;
use crate::vector::{TableLayout, TokenColumn};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Format of the description and of the folder around it. A program refuses formats that it does not know.
const FORMAT: u32 = 3;
/// How the folder of a table is named.
const TABLE_BEGINS: &str = "table-";
const TABLE_ENDS: &str = ".lance";
/// Longest name of a collection, in bytes.
const MAX_NAME_BYTES: usize = 63;

/// One version of one encoder.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbedderRef {
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
}

/// What a collection was made as. It changes only when the collection is given the vectors of another encoder, which is
/// another table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectionSpec {
    format: u32,
    /// The collection's name, as its tenant knows it.
    pub name: String,
    /// The tenant that it belongs to; empty for the one without a name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// Folder of the vector table. It is named anew for each table, so that no cache takes one for another.
    pub table: String,
    /// Versions that the tables had whose place this one took; its own count on from there. None in collections of
    /// formats 1 and 2.
    #[serde(default)]
    pub versions_before: u64,
    /// Length of the vectors.
    pub dimension: usize,
    /// BCP 47 tag of the language of documents that name none.
    pub language: String,
    /// The encoder of the vectors.
    pub embedder: EmbedderRef,
    /// How far each vector is drawn towards its document's mean, in hundredths of the mean. None in collections of
    /// format 1, which did not do that.
    #[serde(default)]
    pub document_context_percent: u8,
    /// Declared metadata fields.
    #[serde(default)]
    pub metadata_fields: Vec<MetadataField>,
    /// Token vectors that a new table begins with. It is not written down here: the table itself says what it has.
    #[serde(skip)]
    pub tokens: Option<TokenColumn>,
}

/// A name that no collection can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_NAME_BYTES} lower-case letters, digits, \"-\" and \"_\", beginning with a letter or digit")]
pub struct NameError;

/// Checks the name of a collection. A good name is a safe folder name.
///
/// # Errors
/// Any character beyond lower-case ASCII letters, digits, `-` and `_`, a first one that is neither letter nor digit,
/// and any length beyond 1 to 63.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    let goes_on_well = name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
    if starts_well && goes_on_well && name.len() <= MAX_NAME_BYTES { Ok(()) } else { Err(NameError) }
}

/// The folder of a tenant's collection.
pub(super) fn folder_of(tenant: &str, name: &str) -> String {
    if tenant.is_empty() { name.to_owned() } else { format!("{tenant}.{name}") }
}

impl CollectionSpec {
    /// Describes a collection to be, with a table of its own.
    pub fn new(name: &str, embedder: EmbedderRef, dimension: usize, metadata_fields: Vec<MetadataField>) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        Self {
            format: FORMAT,
            name: name.to_owned(),
            tenant: String::new(),
            table: format!("{TABLE_BEGINS}{}{TABLE_ENDS}", &unique[..12]),
            versions_before: 0,
            dimension,
            language: "en".to_owned(),
            embedder,
            document_context_percent: DOCUMENT_CONTEXT_PERCENT,
            metadata_fields,
            tokens: None,
        }
    }

    /// The same with these token vectors in its new table.
    #[must_use]
    pub fn with_tokens(self, tokens: Option<TokenColumn>) -> Self {
        Self { tokens, ..self }
    }

    /// Describes a collection of the same documents with the vectors of another encoder, in a table of its own.
    #[must_use]
    pub fn successor(&self, embedder: EmbedderRef, dimension: usize) -> Self {
        let made = Self::new(&self.name, embedder, dimension, self.metadata_fields.clone());
        Self { tenant: self.tenant.clone(), language: self.language.clone(), ..made }
    }

    /// The same, taking the place of a collection at this version.
    #[must_use]
    pub(super) fn counting_on(self, versions_before: u64) -> Self {
        Self { versions_before, ..self }
    }

    /// Whether a folder is named as those of tables are.
    pub(super) fn names_table(folder: &str) -> bool {
        folder.starts_with(TABLE_BEGINS) && folder.ends_with(TABLE_ENDS)
    }

    /// The same collection, of a tenant.
    #[must_use]
    pub fn of_tenant(mut self, tenant: &str) -> Self {
        tenant.clone_into(&mut self.tenant);
        self
    }

    /// Name of the collection's folder. A dot stands between a tenant and a name, and neither has one, so that no two
    /// collections share a folder.
    pub fn folder(&self) -> String {
        folder_of(&self.tenant, &self.name)
    }

    /// Whether both describe the same collection, wherever their tables are and whatever version of the program made
    /// them.
    pub fn same_as(&self, other: &Self) -> bool {
        let described = |spec: &Self| Self {
            format: FORMAT,
            table: String::new(),
            versions_before: 0,
            document_context_percent: 0,
            tokens: None,
            ..spec.clone()
        };
        described(self) == described(other)
    }

    /// Columns of the collection's table.
    pub fn layout(&self) -> TableLayout {
        TableLayout { dimension: self.dimension, fields: self.metadata_fields.clone(), tokens: self.tokens.clone() }
    }

    /// Reads a description.
    ///
    /// # Errors
    /// A file that is missing, wrong, or of a newer format.
    pub fn read(path: &Path) -> Result<Self, CollectionError> {
        let text = files::read(path)?;
        let bad = |reason: String| CollectionError::BadSpec { path: path.to_owned(), reason };
        // The format is read by itself first: a newer one may have keys that this program does not know.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| bad(error.message().to_owned()))?;
        let found = table.get("format").and_then(toml::Value::as_integer).and_then(|format| u32::try_from(format).ok());
        match found {
            None => return Err(bad("it names no format".to_owned())),
            Some(found) if found > FORMAT => {
                return Err(CollectionError::NewerFormat { path: path.to_owned(), found, known: FORMAT });
            }
            Some(_) => {}
        }
        let spec: Self = table.try_into().map_err(|error: toml::de::Error| bad(error.message().to_owned()))?;
        // The name of the table becomes a path, so it must not lead anywhere else.
        let plain = Path::new(&spec.table).file_name().is_some_and(|name| name == spec.table.as_str());
        if plain { Ok(spec) } else { Err(bad("its table is no plain folder name".to_owned())) }
    }

    /// Writes the description, durably.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), CollectionError> {
        let bad =
            |error: toml::ser::Error| CollectionError::BadSpec { path: path.to_owned(), reason: error.to_string() };
        files::write_durably(path, &toml::to_string(self).map_err(bad)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::MetadataType;

    fn spec() -> CollectionSpec {
        let embedder = EmbedderRef { name: "minilm".into(), version: "1".into() };
        let fields = vec![MetadataField { name: "lang".into(), kind: MetadataType::StringList }];
        CollectionSpec::new("docs", embedder, 384, fields)
    }

    #[test]
    fn names_are_checked() {
        let longest = "a".repeat(63);
        for name in ["a", "0", "docs", "my-docs_2", longest.as_str()] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in ["", "-a", "_a", ".a", "A", "a b", "a/b", "..", "ä", too_long.as_str()] {
            assert_eq!(check_name(name), Err(NameError), "{name}");
        }
    }

    #[test]
    fn a_description_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(files::SPEC);
        spec().write(&path).unwrap();
        let read = CollectionSpec::read(&path).unwrap();
        assert!(read.same_as(&spec()));
        assert_ne!(read.table, spec().table);
    }

    #[test]
    fn tenants_have_folders_of_their_own_and_the_nameless_one_keeps_its() {
        assert_eq!(spec().folder(), "docs");
        assert!(!toml::to_string(&spec()).unwrap().contains("tenant"), "files of before read as they are");
        let theirs = spec().of_tenant("acme");
        assert_eq!(theirs.folder(), "acme.docs");
        assert!(!theirs.same_as(&spec()));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(files::SPEC);
        theirs.write(&path).unwrap();
        assert_eq!(CollectionSpec::read(&path).unwrap(), theirs);
    }

    #[test]
    fn a_description_of_the_first_format_keeps_its_vectors_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(files::SPEC);
        let now = toml::to_string(&spec()).unwrap();
        let first = now
            .replace("format = 3", "format = 1")
            .replace("versions_before = 0\n", "")
            .replace("document_context_percent = 30\n", "");
        assert_ne!(first, now);
        std::fs::write(&path, first).unwrap();
        assert_eq!(CollectionSpec::read(&path).unwrap().document_context_percent, 0);
    }

    #[test]
    fn what_is_no_description_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(files::SPEC);
        let good = toml::to_string(&spec()).unwrap();
        let cases = [
            (good.replace("format = 3", "format = 4"), "format 4"),
            (good.replace("format = 3", ""), "names no format"),
            (good.replace("dimension = 384", "dimension = \"x\""), "expected usize"),
            (good.replace("table-", "../table-"), "plain folder name"),
            (format!("surprise = 1\n{good}"), "unknown field"),
            ("{".to_owned(), "no description"),
        ];
        for (text, expected) in cases {
            std::fs::write(&path, text).unwrap();
            let message = CollectionSpec::read(&path).unwrap_err().to_string();
            assert!(message.contains(expected), "{message:?} lacks {expected:?}");
        }
    }
}
