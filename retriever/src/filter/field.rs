//! The fields that a filter can read, and their values in a document.

use crate::metadata::{MetadataField, MetadataType, MetadataValue};

/// Names that an error lists at most.
const LISTED_NAMES: usize = 20;

/// A field that every document has, beside the declared ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BuiltIn {
    /// The document's id.
    DocumentId,
    /// Where the document lives; an empty one counts as missing.
    Uri,
    /// The document's language tag; an empty one counts as missing.
    Language,
}

impl BuiltIn {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::DocumentId, Self::Uri, Self::Language];

    /// Its name in filters, and of its column in both engines.
    pub fn name(self) -> &'static str {
        match self {
            Self::DocumentId => "document_id",
            Self::Uri => "uri",
            Self::Language => "language",
        }
    }
}

/// A field that a filter reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// One that every document has.
    BuiltIn(BuiltIn),
    /// One that the collection declares.
    Declared {
        /// Its place among the declared fields.
        position: usize,
        /// Its name and type.
        field: MetadataField,
    },
}

impl Field {
    /// The field of that name. A declared field hides a built-in one of the same name.
    pub(super) fn find(name: &str, fields: &[MetadataField]) -> Option<Self> {
        let declared = fields.iter().position(|field| field.name == name);
        let built_in = || BuiltIn::ALL.into_iter().find(|built_in| built_in.name() == name).map(Self::BuiltIn);
        declared.map(|position| Self::Declared { position, field: fields[position].clone() }).or_else(built_in)
    }

    /// Its name in filters.
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(built_in) => built_in.name(),
            Self::Declared { field, .. } => &field.name,
        }
    }

    /// Type of its values.
    pub fn kind(&self) -> MetadataType {
        match self {
            Self::BuiltIn(_) => MetadataType::String,
            Self::Declared { field, .. } => field.kind,
        }
    }
}

/// Every name that a filter can use, for people.
pub(super) fn known_names(fields: &[MetadataField]) -> String {
    let declared = fields.iter().map(|field| field.name.as_str());
    let names: Vec<&str> = declared.chain(BuiltIn::ALL.map(BuiltIn::name)).collect();
    let listed = names[..names.len().min(LISTED_NAMES)].join(", ");
    match names.len().saturating_sub(LISTED_NAMES) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

/// What filters read of a document. All its chunks share it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Properties {
    /// The document's id.
    pub document_id: String,
    /// Where it lives; empty when that is not known.
    pub uri: String,
    /// Its language tag; empty for the collection's language.
    pub language: String,
    /// A value for each declared field, in their order.
    pub declared: Vec<Option<MetadataValue>>,
}

impl Properties {
    /// The text of a built-in field; `None` where it is missing.
    pub fn built_in(&self, built_in: BuiltIn) -> Option<&str> {
        let text = match built_in {
            BuiltIn::DocumentId => &self.document_id,
            BuiltIn::Uri => &self.uri,
            BuiltIn::Language => &self.language,
        };
        Some(text.as_str()).filter(|text| !text.is_empty())
    }
}
