//! Columns to rows.

use super::schema::{self, TableLayout};
use super::{DocumentRow, StoredChunk, VectorError};
use crate::hash::{ContentHash, InvalidHash};
use crate::metadata::{MetadataField, MetadataType, MetadataValue};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Float32Array, RecordBatch, StringArray, UInt32Array, UInt64Array};
use lance_core::ROW_ID;

/// A text column.
pub(super) fn text<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, VectorError> {
    column(batch, name)?.as_string_opt::<i32>().ok_or_else(|| wrong_type(name))
}

/// The hash in one row of a text column.
pub(super) fn hash(hashes: &StringArray, row: usize) -> Result<ContentHash, VectorError> {
    hashes.value(row).parse().map_err(|error: InvalidHash| VectorError::damaged(error.to_string()))
}

/// A column of whole numbers of 32 bits.
pub(super) fn number<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a UInt32Array, VectorError> {
    column(batch, name)?.as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong_type(name))
}

/// A column of whole numbers of 64 bits, such as Lance's row ids.
pub(super) fn big_number<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a UInt64Array, VectorError> {
    column(batch, name)?.as_primitive_opt::<UInt64Type>().ok_or_else(|| wrong_type(name))
}

/// A column of floating-point numbers of 32 bits, such as Lance's distances.
pub(super) fn float<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a Float32Array, VectorError> {
    column(batch, name)?.as_primitive_opt::<Float32Type>().ok_or_else(|| wrong_type(name))
}

/// The vectors of a batch, one after another.
pub(super) fn vectors(batch: &RecordBatch, dimension: usize) -> Result<Vec<f32>, VectorError> {
    let lists = column(batch, schema::VECTOR)?.as_fixed_size_list_opt().ok_or_else(|| wrong_type(schema::VECTOR))?;
    let values = lists.values().as_primitive_opt::<Float32Type>().ok_or_else(|| wrong_type(schema::VECTOR))?;
    // A sliced array's values begin before its first row.
    let start = lists.value_offset(0) as usize;
    let end = start + lists.len() * dimension;
    let slice = values.values().get(start..end);
    slice.map(<[f32]>::to_vec).ok_or_else(|| VectorError::damaged("the vectors are shorter than the table's dimension"))
}

/// The rows of a batch that holds [`TableLayout::stored_columns`] and row ids.
pub(super) fn stored_chunks(layout: &TableLayout, batch: &RecordBatch) -> Result<Vec<StoredChunk>, VectorError> {
    let row_ids = big_number(batch, ROW_ID)?;
    let chunk_ids = text(batch, schema::CHUNK_ID)?;
    let numbers = number(batch, schema::CHUNK_NO)?;
    let starts = number(batch, schema::CHAR_START)?;
    let ends = number(batch, schema::CHAR_END)?;
    let texts = text(batch, schema::TEXT)?;
    let headings = column(batch, schema::HEADING_PATH)?;
    let documents = document_rows(layout, batch)?;
    let chunks = documents.into_iter().enumerate().map(|(row, document)| {
        Ok(StoredChunk {
            row_id: row_ids.value(row),
            document,
            chunk_id: chunk_ids.value(row).to_owned(),
            chunk_no: numbers.value(row),
            char_start: starts.value(row),
            char_end: ends.value(row),
            heading_path: strings(headings, row, schema::HEADING_PATH)?,
            text: texts.value(row).to_owned(),
        })
    });
    chunks.collect()
}

fn document_rows(layout: &TableLayout, batch: &RecordBatch) -> Result<Vec<DocumentRow>, VectorError> {
    let ids = text(batch, schema::DOCUMENT_ID)?;
    let titles = text(batch, schema::TITLE)?;
    let uris = text(batch, schema::URI)?;
    let types = text(batch, schema::CONTENT_TYPE)?;
    let languages = text(batch, schema::LANGUAGE)?;
    let metadata = text(batch, schema::METADATA_JSON)?;
    let hashes = text(batch, schema::DOCUMENT_HASH)?;
    let rows = (0..batch.num_rows()).map(|row| {
        Ok(DocumentRow {
            document_id: ids.value(row).to_owned(),
            title: titles.value(row).to_owned(),
            uri: uris.value(row).to_owned(),
            content_type: types.value(row).to_owned(),
            language: languages.value(row).to_owned(),
            declared: declared_values(layout, batch, row)?,
            metadata_json: metadata.value(row).to_owned(),
            document_hash: hash(hashes, row)?,
        })
    });
    rows.collect()
}

/// A value for each declared field in one row.
pub(super) fn declared_values(
    layout: &TableLayout,
    batch: &RecordBatch,
    row: usize,
) -> Result<Vec<Option<MetadataValue>>, VectorError> {
    layout.fields.iter().map(|field| declared_value(field, batch, row)).collect()
}

fn declared_value(
    field: &MetadataField,
    batch: &RecordBatch,
    row: usize,
) -> Result<Option<MetadataValue>, VectorError> {
    let name = schema::column_name(field);
    let array = column(batch, &name)?;
    if array.is_null(row) {
        return Ok(None);
    }
    let wrong = || wrong_type(&name);
    let value = match field.kind {
        MetadataType::String => {
            MetadataValue::String(array.as_string_opt::<i32>().ok_or_else(wrong)?.value(row).to_owned())
        }
        MetadataType::Integer => {
            MetadataValue::Integer(array.as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.value(row))
        }
        MetadataType::Float => {
            MetadataValue::Float(array.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?.value(row))
        }
        MetadataType::Boolean => MetadataValue::Boolean(array.as_boolean_opt().ok_or_else(wrong)?.value(row)),
        MetadataType::Timestamp => {
            let moments = array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(wrong)?;
            MetadataValue::Timestamp(moments.value(row))
        }
        MetadataType::StringList => MetadataValue::StringList(strings(array, row, &name)?),
    };
    Ok(Some(value))
}

fn strings(array: &ArrayRef, row: usize, name: &str) -> Result<Vec<String>, VectorError> {
    let items = array.as_list_opt::<i32>().ok_or_else(|| wrong_type(name))?.value(row);
    let items = items.as_string_opt::<i32>().ok_or_else(|| wrong_type(name))?;
    Ok(items.iter().flatten().map(str::to_owned).collect())
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, VectorError> {
    batch.column_by_name(name).ok_or_else(|| VectorError::damaged(format!("column {name} is missing")))
}

fn wrong_type(name: &str) -> VectorError {
    VectorError::damaged(format!("column {name} has another type than it was written with"))
}
