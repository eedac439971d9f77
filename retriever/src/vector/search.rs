//! Nearest neighbours.

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
    /// The `k` rows whose vectors have the largest inner product with `query`, the largest first.
    ///
    /// The search is exact: every live row that meets the filter is compared. Rows of equal similarity come in the order of their ids.
    ///
    /// # Errors
    /// A query of another length than the table's vectors, or a table that cannot be read.
    pub fn nearest<'a>(
        &'a self,
        query: &'a [f32],
        k: usize,
        filter: Option<&'a Filter>,
    ) -> TableFuture<'a, Vec<VectorHit>> {
        async move {
            if query.len() != self.layout.dimension {
                return Err(VectorError::Dimension { expected: self.layout.dimension, found: query.len() });
            }
            if k == 0 || self.fragments() == 0 {
                return Ok(Vec::new());
            }
            let query = Float32Array::from(query.to_vec());
            let mut scanner = self.dataset.scan();
            scanner.nearest(schema::VECTOR, &query, k).map_err(failed("be searched"))?;
            scanner.project(&[DISTANCE]).map_err(failed("be searched"))?;
            scanner.distance_metric(MetricType::Dot).prefilter(true).with_row_id();
            if let Some(filter) = filter {
                scanner.filter_expr(filter::compile(filter));
            }
            let mut batches = scanner.try_into_stream().await.map_err(failed("be searched"))?;
            let mut hits = Vec::with_capacity(k);
            while let Some(batch) = batches.try_next().await.map_err(failed("be searched"))? {
                let row_ids = decode::big_number(&batch, ROW_ID)?;
                let distances = decode::float(&batch, DISTANCE)?;
                // Lance's dot distance is one minus the inner product.
                let pairs = row_ids.values().iter().zip(distances.values());
                hits.extend(pairs.map(|(row_id, distance)| VectorHit { row_id: *row_id, similarity: 1.0 - distance }));
            }
            hits.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.row_id.cmp(&b.row_id)));
            Ok(hits)
        }
        .boxed()
    }
}
