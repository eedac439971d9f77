//! The fields of the index.

use sha2::{Digest, Sha256};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, Schema, SchemaBuilder, TextFieldIndexing, TextOptions,
};

use super::analyzer;
use crate::filter::BuiltIn;
use crate::metadata::{MetadataField, MetadataType};

/// The tokenizer that gives a text as one term, as it is.
const WHOLE: &str = "raw";

/// The schema, and a handle for each of its fields.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub schema: Schema,
    pub row_id: Field,
    /// The two halves of the content hash. Numbers are read back much faster than text or bytes.
    pub chunk_hash_high: Field,
    pub chunk_hash_low: Field,
    pub title: Field,
    pub body: Field,
    /// Names of the properties that a document has a value for. A list without items has one, and no term of its own.
    pub present: Field,
    /// The passage as answers give it, which the index keeps and does not read.
    pub passage: Field,
    built_in: [Field; BuiltIn::ALL.len()],
    declared: Vec<Field>,
}

impl Fields {
    /// The fields of an index over a collection that declares these.
    pub fn new(metadata_fields: &[MetadataField]) -> Self {
        let mut schema = Schema::builder();
        let row_id = schema.add_u64_field("row_id", INDEXED | FAST);
        let chunk_hash_high = schema.add_u64_field("chunk_hash_high", FAST);
        let chunk_hash_low = schema.add_u64_field("chunk_hash_low", FAST);
        let title = schema.add_text_field("title", text_options());
        let body = schema.add_text_field("body", text_options());
        let present = schema.add_text_field("present", whole_text());
        let passage = schema.add_bytes_field("passage_1", STORED);
        let built_in =
            BuiltIn::ALL.map(|built_in| schema.add_text_field(built_in.name(), whole_text().set_fast(WHOLE)));
        let declared = metadata_fields.iter().map(|field| add_declared(&mut schema, field)).collect();
        Self {
            schema: schema.build(),
            row_id,
            chunk_hash_high,
            chunk_hash_low,
            title,
            body,
            present,
            passage,
            built_in,
            declared,
        }
    }

    /// The field of a built-in property.
    pub fn built_in(&self, built_in: BuiltIn) -> Field {
        match built_in {
            BuiltIn::DocumentId => self.built_in[0],
            BuiltIn::Uri => self.built_in[1],
            BuiltIn::Language => self.built_in[2],
        }
    }

    /// The fields of the declared metadata, in the order of declaration.
    pub fn declared(&self) -> &[Field] {
        &self.declared
    }

    /// What [`Fields::present`] holds for a field with a value.
    pub fn name(&self, field: Field) -> &str {
        self.schema.get_field_name(field)
    }

    /// Changes whenever documents would be indexed differently.
    pub fn analyzer_hash(&self) -> String {
        let fields: Vec<String> =
            self.schema.fields().map(|(_, entry)| format!("{}:{:?}", entry.name(), entry.field_type())).collect();
        let digest = Sha256::digest(format!("{};{}", analyzer::VERSION, fields.join(";")));
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A field is indexed for equality, and kept as a column for ranges.
fn add_declared(schema: &mut SchemaBuilder, field: &MetadataField) -> Field {
    // The prefix keeps it apart from the index's own fields.
    let name = format!("meta_{}", field.name);
    match field.kind {
        MetadataType::String => schema.add_text_field(&name, whole_text().set_fast(WHOLE)),
        MetadataType::Integer | MetadataType::Timestamp => schema.add_i64_field(&name, INDEXED | FAST),
        MetadataType::Float => schema.add_f64_field(&name, INDEXED | FAST),
        MetadataType::Boolean => schema.add_bool_field(&name, INDEXED),
        MetadataType::StringList => schema.add_text_field(&name, whole_text()),
    }
}

/// Text that is one term, and never scored.
fn whole_text() -> TextOptions {
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(WHOLE)
        .set_index_option(IndexRecordOption::Basic)
        .set_fieldnorms(false);
    TextOptions::default().set_indexing_options(indexing)
}

/// Term frequencies are enough for BM25; positions would be needed for phrases only.
fn text_options() -> TextOptions {
    let indexing =
        TextFieldIndexing::default().set_tokenizer(analyzer::NAME).set_index_option(IndexRecordOption::WithFreqs);
    TextOptions::default().set_indexing_options(indexing)
}
