//! Columns of the table.

use super::{TokenColumn, VectorError};
use crate::metadata::{MetadataField, MetadataType};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

pub(super) const CHUNK_ID: &str = "chunk_id";
pub(super) const DOCUMENT_ID: &str = "document_id";
pub(super) const CHUNK_NO: &str = "chunk_no";
pub(super) const CHAR_START: &str = "char_start";
pub(super) const CHAR_END: &str = "char_end";
pub(super) const TITLE: &str = "title";
pub(super) const HEADING_PATH: &str = "heading_path";
pub(super) const TEXT: &str = "text";
pub(super) const INDEX_TEXT: &str = "index_text";
pub(super) const URI: &str = "uri";
pub(super) const CONTENT_TYPE: &str = "content_type";
pub(super) const LANGUAGE: &str = "language";
pub(super) const METADATA_JSON: &str = "metadata_json";
pub(super) const DOCUMENT_HASH: &str = "document_hash";
pub(super) const CHUNK_HASH: &str = "chunk_hash";
pub(super) const VECTOR: &str = "vector";
pub(super) const TOKEN_VECTORS: &str = "token_vectors";

/// Name of the time zone that timestamp columns carry.
pub(super) const UTC: &str = "UTC";
/// Name of the one child of a list column.
pub(super) const ITEM: &str = "item";

/// Key in the table's schema metadata under which its random identity is kept.
const TABLE_ID_KEY: &str = "trivium:table_id";
/// Field metadata by which Lance knows the table's key, so that writers of other tools can detect duplicates.
const PRIMARY_KEY: (&str, &str) = ("lance-schema:unenforced-primary-key", "true");

/// What decides the columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableLayout {
    /// Length of each vector, at least 1.
    pub dimension: usize,
    /// Declared metadata fields, each a column of its own.
    pub fields: Vec<MetadataField>,
    /// The token vectors; `None` in tables that have none. What an opened table says of itself goes before what is asked.
    pub tokens: Option<TokenColumn>,
}

impl TableLayout {
    /// The Arrow schema, with the table's identity in its metadata.
    pub(super) fn schema(&self, table_id: &str) -> SchemaRef {
        let mut columns = vec![
            text(CHUNK_ID).with_metadata(HashMap::from([(PRIMARY_KEY.0.into(), PRIMARY_KEY.1.into())])),
            text(DOCUMENT_ID),
            Field::new(CHUNK_NO, DataType::UInt32, false),
            Field::new(CHAR_START, DataType::UInt32, false),
            Field::new(CHAR_END, DataType::UInt32, false),
            text(TITLE),
            Field::new(HEADING_PATH, strings(), false),
            text(TEXT),
            text(INDEX_TEXT),
            text(URI),
            text(CONTENT_TYPE),
            text(LANGUAGE),
            text(METADATA_JSON),
            text(DOCUMENT_HASH),
            text(CHUNK_HASH),
        ];
        columns.extend(self.fields.iter().map(|field| Field::new(column_name(field), data_type(field.kind), true)));
        columns.push(Field::new(VECTOR, self.vector_type(), false));
        columns.extend(self.tokens.as_ref().map(TokenColumn::field));
        let metadata = HashMap::from([(TABLE_ID_KEY.to_owned(), table_id.to_owned())]);
        Arc::new(Schema::new_with_metadata(columns, metadata))
    }

    /// Columns of a [`super::StoredChunk`].
    pub(super) fn stored_columns(&self) -> Vec<String> {
        let fixed = [
            CHUNK_ID,
            DOCUMENT_ID,
            CHUNK_NO,
            CHAR_START,
            CHAR_END,
            TITLE,
            HEADING_PATH,
            TEXT,
            URI,
            CONTENT_TYPE,
            LANGUAGE,
            METADATA_JSON,
            DOCUMENT_HASH,
        ];
        let declared = self.fields.iter().map(column_name);
        fixed.iter().map(|name| (*name).to_owned()).chain(declared).collect()
    }

    /// Columns that the lexical index is made from.
    pub(super) fn index_columns(&self) -> Vec<String> {
        self.stored_columns().into_iter().chain([INDEX_TEXT, CHUNK_HASH].map(str::to_owned)).collect()
    }

    /// Columns that a check compares: all but the token vectors, from which nothing is derived.
    pub(super) fn check_columns(&self) -> Vec<String> {
        self.stored_columns().into_iter().chain([CHUNK_HASH, VECTOR].map(str::to_owned)).collect()
    }

    /// Arrow type of the vectors.
    pub(super) fn vector_type(&self) -> DataType {
        // Lance keeps the length as a signed 32-bit number; collections are refused above that when they are made.
        let length = i32::try_from(self.dimension).unwrap_or(i32::MAX);
        DataType::FixedSizeList(vector_item(), length)
    }

    /// Checks that an opened table has these columns.
    pub(super) fn check(&self, found: &Schema) -> Result<(), VectorError> {
        for expected in self.schema("").fields() {
            match found.field_with_name(expected.name()) {
                Ok(field) if field.data_type() == expected.data_type() => {}
                Ok(field) => {
                    let what =
                        format!("column {} is {}, not {}", expected.name(), field.data_type(), expected.data_type());
                    return Err(VectorError::damaged(what));
                }
                Err(_) => return Err(VectorError::damaged(format!("column {} is missing", expected.name()))),
            }
        }
        Ok(())
    }
}

/// The identity that a table's schema carries.
pub(super) fn table_id(metadata: &HashMap<String, String>) -> Result<String, VectorError> {
    let missing = || VectorError::damaged("the table carries no identity, so it was not made by this program");
    metadata.get(TABLE_ID_KEY).cloned().ok_or_else(missing)
}

/// Column of a declared field. The prefix keeps it apart from the table's own columns.
pub(super) fn column_name(field: &MetadataField) -> String {
    format!("meta_{}", field.name)
}

/// Child field of the vector column.
pub(super) fn vector_item() -> Arc<Field> {
    Arc::new(Field::new(ITEM, DataType::Float32, true))
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn strings() -> DataType {
    DataType::List(Arc::new(Field::new(ITEM, DataType::Utf8, true)))
}

fn data_type(kind: MetadataType) -> DataType {
    match kind {
        MetadataType::String => DataType::Utf8,
        MetadataType::Integer => DataType::Int64,
        MetadataType::Float => DataType::Float64,
        MetadataType::Boolean => DataType::Boolean,
        MetadataType::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        MetadataType::StringList => strings(),
    }
}
