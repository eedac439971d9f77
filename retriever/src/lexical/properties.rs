//! A document's properties in the index.

use tantivy::TantivyDocument;
use tantivy::schema::Field;

use super::schema::Fields;
use crate::filter::{BuiltIn, Properties};
use crate::metadata::MetadataValue;

/// Adds the properties that have a value, and the names of those.
pub(super) fn encode(fields: &Fields, properties: &Properties, encoded: &mut TantivyDocument) {
    for built_in in BuiltIn::ALL {
        if let Some(text) = properties.built_in(built_in) {
            let field = fields.built_in(built_in);
            encoded.add_text(field, text);
            encoded.add_text(fields.present, fields.name(field));
        }
    }
    for (field, value) in fields.declared().iter().zip(&properties.declared) {
        if let Some(value) = value {
            add_value(*field, value, encoded);
            encoded.add_text(fields.present, fields.name(*field));
        }
    }
}

fn add_value(field: Field, value: &MetadataValue, encoded: &mut TantivyDocument) {
    match value {
        MetadataValue::String(text) => encoded.add_text(field, text),
        // Tantivy's own dates count nanoseconds, and so end in 2262.
        MetadataValue::Integer(number) | MetadataValue::Timestamp(number) => encoded.add_i64(field, *number),
        MetadataValue::Float(number) => encoded.add_f64(field, *number),
        MetadataValue::Boolean(flag) => encoded.add_bool(field, *flag),
        MetadataValue::StringList(items) => items.iter().for_each(|item| encoded.add_text(field, item)),
    }
}
