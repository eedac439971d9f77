//! Nearest neighbours.

use super::index::{PROBES, REFINE};
use super::{TableFuture, VectorError, VectorTable, decode, failed, filter, schema};
use crate::filter::Filter;
use arrow_array::Float32Array;
use futures::{FutureExt, TryStreamExt};
use lance_core::ROW_ID;
use lance_linalg::distance::MetricType;

/// Column in which Lance gives a hit's distance.
const DISTANCE: &str = "_distance";

/// One row that is near the query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VectorHit {
    /// The row's stable id.
    pub row_id: u64,
    /// Inner product with the query, which is the cosine, both being of length 1; -1 to 1.
    pub similarity: f32,
}

impl VectorTable {
    /// The `k` rows whose vectors have the largest inner product with `query`, the largest first, rows of equal similarity in
    /// the order of their ids.
    ///
    /// Rows that an index covers are found through it, and a few of them may be missed; all others are compared. Rows whose
    /// vectors have no direction are near to nothing, and may be left out. Every row that is found is live and meets the filter.
    ///
    /// # Errors
    /// A query of another length than the table's vectors, or a table that cannot be read.
    pub fn nearest<'a>(
        &'a self,
        query: &'a [f32],
        k: usize,
        filter: Option<&'a Filter>,
    ) -> TableFuture<'a, Vec<VectorHit>> {
        self.search(query, k, filter, !self.index.is_empty()).boxed()
    }

    /// As [`VectorTable::nearest`], without the index: every live row that meets the filter is compared.
    ///
    /// # Errors
    /// As [`VectorTable::nearest`].
    pub fn nearest_of_all<'a>(
        &'a self,
        query: &'a [f32],
        k: usize,
        filter: Option<&'a Filter>,
    ) -> TableFuture<'a, Vec<VectorHit>> {
        self.search(query, k, filter, false).boxed()
    }

    async fn search(
        &self,
        query: &[f32],
        k: usize,
        filter: Option<&Filter>,
        indexed: bool,
    ) -> Result<Vec<VectorHit>, VectorError> {
        if query.len() != self.layout.dimension {
            return Err(VectorError::Dimension { expected: self.layout.dimension, found: query.len() });
        }
        if k == 0 || self.fragments() == 0 {
            return Ok(Vec::new());
        }
        // The lists of an index lie in directions, of which a query of zeros has none.
        let indexed = indexed && query.iter().any(|value| *value != 0.0);
        let values = Float32Array::from(query.to_vec());
        let mut scanner = self.dataset.scan();
        scanner.nearest(schema::VECTOR, &values, k).map_err(failed("be searched"))?;
        scanner.project(&[DISTANCE]).map_err(failed("be searched"))?;
        scanner.prefilter(true).with_row_id();
        match indexed {
            // Only a least number: where the lists hold too few rows that meet the filter, further ones follow.
            true => scanner.distance_metric(MetricType::Cosine).minimum_nprobes(PROBES).refine(REFINE),
            false => scanner.distance_metric(MetricType::Dot).use_index(false),
        };
        if let Some(filter) = filter {
            scanner.filter_expr(filter::compile(filter));
        }
        let mut batches = scanner.try_into_stream().await.map_err(failed("be searched"))?;
        let mut hits = Vec::with_capacity(k);
        while let Some(batch) = batches.try_next().await.map_err(failed("be searched"))? {
            let row_ids = decode::big_number(&batch, ROW_ID)?;
            let distances = decode::float(&batch, DISTANCE)?;
            // Both of Lance's distances are one minus the inner product, for vectors of length 1.
            let pairs = row_ids.values().iter().zip(distances.values());
            hits.extend(pairs.map(|(row_id, distance)| VectorHit { row_id: *row_id, similarity: 1.0 - distance }));
        }
        // A vector of zeros has no cosine.
        hits.retain(|hit| !hit.similarity.is_nan());
        hits.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row_id.cmp(&b.row_id)));
        Ok(hits)
    }
}
