//! Rows to columns.

use super::schema::{self, TableLayout};
use super::{ChunkRow, VectorError};
use crate::hash::ContentHash;
use crate::metadata::{MetadataType, MetadataValue};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use std::sync::Arc;

/// Puts rows into one batch of the table's schema.
///
/// # Errors
/// A vector of another length than the layout's.
pub(super) fn to_batch(layout: &TableLayout, table_id: &str, rows: &[ChunkRow]) -> Result<RecordBatch, VectorError> {
    let mut columns: Vec<ArrayRef> = vec![
        text(rows, |row| &row.chunk_id),
        text(rows, |row| &row.document.document_id),
        number(rows, |row| row.chunk_no),
        number(rows, |row| row.char_start),
        number(rows, |row| row.char_end),
        text(rows, |row| &row.document.title),
        lists(rows.iter().map(|row| Some(row.heading_path.as_slice()))),
        text(rows, |row| &row.text),
        text(rows, |row| &row.index_text),
        text(rows, |row| &row.document.uri),
        text(rows, |row| &row.document.content_type),
        text(rows, |row| &row.document.language),
        text(rows, |row| &row.document.metadata_json),
        hashes(rows, |row| row.document.document_hash),
        hashes(rows, |row| row.chunk_hash),
    ];
    for (position, field) in layout.fields.iter().enumerate() {
        columns.push(declared(rows, position, field.kind));
    }
    columns.push(vectors(layout, rows)?);
    if let Some(column) = &layout.tokens {
        columns.push(column.array(rows)?);
    }
    Ok(RecordBatch::try_new(layout.schema(table_id), columns)?)
}

fn text<'a>(rows: &'a [ChunkRow], get: impl Fn(&'a ChunkRow) -> &'a str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(get)))
}

fn hashes(rows: &[ChunkRow], get: impl Fn(&ChunkRow) -> ContentHash) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(|row| get(row).to_string())))
}

fn number(rows: &[ChunkRow], get: impl Fn(&ChunkRow) -> u32) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values(rows.iter().map(get)))
}

fn lists<'a>(rows: impl Iterator<Item = Option<&'a [String]>>) -> ArrayRef {
    let mut builder = ListBuilder::new(StringBuilder::new());
    for row in rows {
        if let Some(items) = row {
            items.iter().for_each(|item| builder.values().append_value(item));
        }
        builder.append(row.is_some());
    }
    Arc::new(builder.finish())
}

/// The column of the declared field at `position`. A value of another type than the field's would be a programming
/// error further up, where documents are checked; it is written as no value.
fn declared(rows: &[ChunkRow], position: usize, kind: MetadataType) -> ArrayRef {
    use MetadataValue as Value;
    let values = rows.iter().map(|row| row.document.declared.get(position).and_then(Option::as_ref));
    match kind {
        MetadataType::String => Arc::new(StringArray::from_iter(values.map(|value| match value {
            Some(Value::String(text)) => Some(text.as_str()),
            _ => None,
        }))),
        MetadataType::Integer => Arc::new(Int64Array::from_iter(values.map(|value| match value {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }))),
        MetadataType::Float => Arc::new(Float64Array::from_iter(values.map(|value| match value {
            Some(Value::Float(number)) => Some(*number),
            _ => None,
        }))),
        MetadataType::Boolean => Arc::new(BooleanArray::from_iter(values.map(|value| match value {
            Some(Value::Boolean(flag)) => Some(*flag),
            _ => None,
        }))),
        MetadataType::Timestamp => {
            let moments = values.map(|value| match value {
                Some(Value::Timestamp(micros)) => Some(*micros),
                _ => None,
            });
            Arc::new(TimestampMicrosecondArray::from_iter(moments).with_timezone(schema::UTC))
        }
        MetadataType::StringList => lists(values.map(|value| match value {
            Some(Value::StringList(items)) => Some(items.as_slice()),
            _ => None,
        })),
    }
}

fn vectors(layout: &TableLayout, rows: &[ChunkRow]) -> Result<ArrayRef, VectorError> {
    let mut values = Vec::with_capacity(rows.len() * layout.dimension);
    for row in rows {
        if row.vector.len() != layout.dimension {
            return Err(VectorError::Dimension { expected: layout.dimension, found: row.vector.len() });
        }
        values.extend_from_slice(&row.vector);
    }
    let length = i32::try_from(layout.dimension).unwrap_or(i32::MAX);
    let array = FixedSizeListArray::try_new(schema::vector_item(), length, Arc::new(Float32Array::from(values)), None)?;
    Ok(Arc::new(array))
}
