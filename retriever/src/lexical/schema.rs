//! The fields of the index.

use sha2::{Digest, Sha256};
use tantivy::schema::{FAST, Field, INDEXED, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};

use super::analyzer;

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
}

impl Fields {
    pub fn new() -> Self {
        let mut schema = Schema::builder();
        let row_id = schema.add_u64_field("row_id", INDEXED | FAST);
        let chunk_hash_high = schema.add_u64_field("chunk_hash_high", FAST);
        let chunk_hash_low = schema.add_u64_field("chunk_hash_low", FAST);
        let title = schema.add_text_field("title", text_options());
        let body = schema.add_text_field("body", text_options());
        Self { schema: schema.build(), row_id, chunk_hash_high, chunk_hash_low, title, body }
    }

    /// Changes whenever documents would be indexed differently.
    pub fn analyzer_hash(&self) -> String {
        let fields: Vec<String> =
            self.schema.fields().map(|(_, entry)| format!("{}:{:?}", entry.name(), entry.field_type())).collect();
        let digest = Sha256::digest(format!("{};{}", analyzer::VERSION, fields.join(";")));
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Term frequencies are enough for BM25; positions would be needed for phrases only.
fn text_options() -> TextOptions {
    let indexing =
        TextFieldIndexing::default().set_tokenizer(analyzer::NAME).set_index_option(IndexRecordOption::WithFreqs);
    TextOptions::default().set_indexing_options(indexing)
}
