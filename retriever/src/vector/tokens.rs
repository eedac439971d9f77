//! The column of token vectors, which a second stage reads for a few rows of each search.

mod kept;

use super::schema::{self, TOKEN_VECTORS};
use super::{ChunkRow, TableFuture, VectorError, VectorTable, decode, failed};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BinaryArray};
use arrow_schema::{DataType, Field, Schema};
use futures::FutureExt;
use futures::TryStreamExt;
use lance::dataset::NewColumnTransform;
use lance_core::ROW_ID;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

pub(super) use kept::KeptTokens;
pub use kept::RowTokens;

/// Keys in the column's metadata. The table itself says what made its token vectors, so that each version of it does.
const PROJECTION_NAME: &str = "trivium:projection_name";
const PROJECTION_VERSION: &str = "trivium:projection_version";
const TOKEN_DIMENSION: &str = "trivium:token_dimension";

/// What the token vectors of a table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenColumn {
    /// Name of the projection that made them.
    pub projection: String,
    /// Its version.
    pub version: String,
    /// Numbers of one token's vector, at least 1.
    pub dimension: usize,
}

impl TokenColumn {
    /// The column of an opened table, if it has one.
    pub(super) fn of(found: &Schema) -> Result<Option<Self>, VectorError> {
        let Ok(field) = found.field_with_name(TOKEN_VECTORS) else { return Ok(None) };
        let damaged = || VectorError::damaged("the column of token vectors does not say what made them");
        let read = |key: &str| field.metadata().get(key).cloned().ok_or_else(damaged);
        let dimension = read(TOKEN_DIMENSION)?.parse().ok().filter(|dimension| *dimension > 0).ok_or_else(damaged)?;
        Ok(Some(Self { projection: read(PROJECTION_NAME)?, version: read(PROJECTION_VERSION)?, dimension }))
    }

    pub(super) fn field(&self) -> Field {
        Field::new(TOKEN_VECTORS, DataType::Binary, true).with_metadata(HashMap::from([
            (PROJECTION_NAME.to_owned(), self.projection.clone()),
            (PROJECTION_VERSION.to_owned(), self.version.clone()),
            (TOKEN_DIMENSION.to_owned(), self.dimension.to_string()),
        ]))
    }

    /// # Errors
    /// Numbers of a row that are not a whole number of vectors.
    pub(super) fn array(&self, rows: &[ChunkRow]) -> Result<ArrayRef, VectorError> {
        let mut values: Vec<Option<Vec<u8>>> = Vec::with_capacity(rows.len());
        for row in rows {
            let numbers = row.token_vectors.as_ref();
            if let Some(found) = numbers.map(Vec::len).filter(|found| !found.is_multiple_of(self.dimension)) {
                return Err(VectorError::Dimension { expected: self.dimension, found });
            }
            values.push(numbers.map(|numbers| numbers.iter().map(|number| number.cast_unsigned()).collect()));
        }
        Ok(Arc::new(BinaryArray::from_iter(values)))
    }
}

impl VectorTable {
    /// A new version in which no row has token vectors, and each may be given some.
    ///
    /// # Errors
    /// The table has such a column, or whatever Lance refuses. As with [`VectorTable::commit`], the version may have been
    /// made all the same.
    pub fn with_token_column<'a>(&'a self, column: &'a TokenColumn) -> TableFuture<'a, Self> {
        async move {
            if self.layout.tokens.is_some() {
                return Err(VectorError::damaged("the table has token vectors already"));
            }
            let mut dataset = (*self.dataset).clone();
            // Only the schema is written: rows without the column read as rows without token vectors.
            let added = NewColumnTransform::AllNulls(Arc::new(Schema::new(vec![column.field()])));
            dataset.add_columns(added, None, None).await.map_err(failed("be given a column"))?;
            self.at(dataset).await
        }
        .boxed()
    }

    /// Documents of which some row has no token vectors, each once, in alphabetical order.
    ///
    /// # Errors
    /// The table has no token vectors, or cannot be read.
    pub fn documents_without_tokens(&self) -> TableFuture<'_, Vec<String>> {
        async move {
            let mut scanner = self.dataset.scan();
            let filter = format!("{TOKEN_VECTORS} IS NULL");
            let scanned = scanner.filter(&filter).and_then(|scanner| scanner.project(&[schema::DOCUMENT_ID]));
            scanned.map_err(failed("be scanned"))?;
            let mut batches = scanner.try_into_stream().await.map_err(failed("be scanned"))?;
            let mut found = BTreeSet::new();
            while let Some(batch) = batches.try_next().await.map_err(failed("be scanned"))? {
                found.extend(decode::text(&batch, schema::DOCUMENT_ID)?.iter().flatten().map(str::to_owned));
            }
            Ok(found.into_iter().collect())
        }
        .boxed()
    }

    /// The token vectors of the rows with these ids, which must be live in this version. Rows without any are left out.
    ///
    /// # Errors
    /// The table has no token vectors, or cannot be read.
    pub fn take_token_vectors<'a>(&'a self, row_ids: &'a [u64]) -> TableFuture<'a, HashMap<u64, RowTokens>> {
        async move {
            if self.layout.tokens.is_none() {
                return Err(VectorError::damaged("the table has no token vectors"));
            }
            let mut found = self.kept_tokens.get(&self.table_id, row_ids);
            let mut missing: Vec<u64> = row_ids.iter().copied().filter(|row_id| !found.contains_key(row_id)).collect();
            // Rows in the order that they are stored in need not be put in another one after they were read.
            missing.sort_unstable();
            if !missing.is_empty() {
                for (row_id, tokens) in self.read_token_vectors(&missing).await? {
                    self.kept_tokens.keep(&self.table_id, row_id, &tokens);
                    found.insert(row_id, tokens);
                }
            }
            Ok(found)
        }
        .boxed()
    }

    async fn read_token_vectors(&self, row_ids: &[u64]) -> Result<Vec<(u64, RowTokens)>, VectorError> {
        let batch = self.take(row_ids, std::iter::once(TOKEN_VECTORS.to_owned())).await?;
        let ids = decode::big_number(&batch, ROW_ID)?;
        let wrong = || VectorError::damaged("the column of token vectors holds something else");
        let column = batch.column_by_name(schema::TOKEN_VECTORS).ok_or_else(wrong)?;
        let values = column.as_binary_opt::<i32>().ok_or_else(wrong)?;
        let present = (0..batch.num_rows()).filter(|row| !values.is_null(*row));
        let numbers = |row| values.value(row).iter().map(|number| number.cast_signed()).collect();
        Ok(present.map(|row| (ids.value(row), numbers(row))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DocumentRow, TableCaches, TableLayout};
    use super::*;
    use crate::hash::ContentHash;

    fn column() -> TokenColumn {
        TokenColumn { projection: "tiny-tokens".into(), version: "3".into(), dimension: 2 }
    }

    fn row(chunk_no: u32, token_vectors: Option<Vec<i8>>) -> ChunkRow {
        let document = DocumentRow {
            document_id: "a".into(),
            title: String::new(),
            uri: String::new(),
            content_type: "text/plain".into(),
            language: String::new(),
            declared: Vec::new(),
            metadata_json: "{}".into(),
            document_hash: ContentHash::from_u128(1),
        };
        ChunkRow {
            document: Arc::new(document),
            chunk_id: format!("a#{chunk_no}"),
            chunk_no,
            char_start: chunk_no,
            char_end: chunk_no + 1,
            heading_path: Vec::new(),
            text: "x".into(),
            index_text: "x".into(),
            chunk_hash: ContentHash::from_u128(chunk_no.into()),
            vector: vec![1.0, 0.0],
            token_vectors,
        }
    }

    #[tokio::test]
    async fn what_was_written_comes_back_by_row_and_the_table_says_what_made_it() {
        let folder = tempfile::tempdir().unwrap();
        let caches = TableCaches::new(1 << 20, 1 << 20).with_token_vectors(1 << 20);
        let path = folder.path().join("t.lance");
        let layout = TableLayout { dimension: 2, fields: Vec::new(), tokens: Some(column()) };
        let table = VectorTable::create(&path, layout.clone(), &caches).await.unwrap();
        let rows = [row(0, Some(vec![1, -2, 127, -127])), row(1, None), row(2, Some(Vec::new()))];
        let committed = table.commit(&rows, &[]).await.unwrap();
        let ids: Vec<u64> = committed.places.iter().map(|place| place.row_id).collect();
        // Whoever opens it need not know.
        let opened = VectorTable::open(&path, TableLayout { tokens: None, ..layout }, &caches).await.unwrap();
        assert_eq!(opened.layout().tokens, Some(column()));
        let of = |row_id, tokens: &[i8]| (row_id, RowTokens::from(tokens));
        // What is kept of the last row is put together with what is read of the others.
        assert_eq!(opened.take_token_vectors(&ids[2..]).await.unwrap(), HashMap::from([of(ids[2], &[])]));
        for _ in ["read", "kept"] {
            let found = opened.take_token_vectors(&[ids[2], ids[0], ids[1]]).await.unwrap();
            assert_eq!(found, HashMap::from([of(ids[0], &[1, -2, 127, -127]), of(ids[2], &[])]));
        }
        let half = table.commit(&[row(0, Some(vec![1]))], &[]).await;
        assert!(matches!(half, Err(VectorError::Dimension { expected: 2, found: 1 })));
    }

    #[tokio::test]
    async fn a_table_is_given_the_column_and_earlier_versions_stay_without() {
        let folder = tempfile::tempdir().unwrap();
        let (path, caches) = (folder.path().join("t.lance"), TableCaches::new(1 << 20, 1 << 20));
        let layout = TableLayout { dimension: 2, fields: Vec::new(), tokens: None };
        let first = VectorTable::create(&path, layout.clone(), &caches).await.unwrap();
        let first = first.commit(&[row(0, None), row(1, None)], &[]).await.unwrap();
        let given = first.table.with_token_column(&column()).await.unwrap();
        assert_eq!((given.version(), given.layout().tokens.clone()), (first.table.version() + 1, Some(column())));
        assert_eq!(given.documents_without_tokens().await.unwrap(), ["a"]);
        let ids: Vec<u64> = first.places.iter().map(|place| place.row_id).collect();
        assert_eq!(given.take_token_vectors(&ids).await.unwrap(), HashMap::new());
        // The rows come back as they were, and take their token vectors.
        let rows = given.take_rows(&ids).await.unwrap();
        let renewed: Vec<ChunkRow> =
            rows.into_iter().map(|row| ChunkRow { token_vectors: Some(vec![1, 2]), ..row }).collect();
        assert_eq!(renewed, [row(0, Some(vec![1, 2])), row(1, Some(vec![1, 2]))]);
        let renewed = given.commit(&renewed, &first.places).await.unwrap();
        assert!(renewed.table.documents_without_tokens().await.unwrap().is_empty());
        assert!(given.with_token_column(&column()).await.is_err());
        let before = renewed.table.at_version(first.table.version()).await.unwrap();
        assert_eq!(before.layout().tokens, None);
        let opened = VectorTable::open(&path, layout, &caches).await.unwrap();
        assert_eq!(opened.take_token_vectors(&[renewed.places[0].row_id]).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_table_without_the_column_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let layout = TableLayout { dimension: 2, fields: Vec::new(), tokens: None };
        let caches = TableCaches::new(1 << 20, 1 << 20);
        let table = VectorTable::create(&folder.path().join("t.lance"), layout, &caches).await.unwrap();
        let ids = [table.commit(&[row(0, None)], &[]).await.unwrap().places[0].row_id];
        assert!(table.take_token_vectors(&ids).await.is_err());
    }
}
