//! The vectors of the chunks with which documents begin.

use super::{CollectionError, Published};
use std::collections::HashMap;
use std::sync::Arc;

impl Published {
    /// For each of these rows, which must be live in this state, the vector of its document's first chunk. A first chunk
    /// without a word has a vector of zeros, and the row's own stands in for it.
    ///
    /// # Errors
    /// The lexical index, or the table where the vectors are not in memory, cannot be read.
    pub async fn beginning_vectors(
        self: &Arc<Self>,
        row_ids: Vec<u64>,
    ) -> Result<HashMap<u64, Vec<f32>>, CollectionError> {
        let published = self.clone();
        let found = tokio::task::spawn_blocking(move || {
            let beginnings: HashMap<u64, u64> =
                row_ids.iter().copied().zip(published.lexical.beginnings(&row_ids)?).collect();
            let vectors = published.vectors.as_ref().map(|vectors| {
                let vector = |id: u64| Some((id, vectors.get(id)?.to_vec()));
                all_rows(&beginnings).into_iter().filter_map(vector).collect()
            });
            Ok::<_, CollectionError>((beginnings, vectors))
        });
        let (beginnings, in_memory) = found.await??;
        let vectors = match in_memory {
            Some(vectors) => vectors,
            None => self.table.take_vectors(&all_rows(&beginnings)).await?,
        };
        Ok(chosen(&beginnings, &vectors))
    }
}

/// Each row and each beginning once, in ascending order.
fn all_rows(beginnings: &HashMap<u64, u64>) -> Vec<u64> {
    let mut rows: Vec<u64> = beginnings.iter().flat_map(|(row, first)| [*row, *first]).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

fn chosen(beginnings: &HashMap<u64, u64>, vectors: &HashMap<u64, Vec<f32>>) -> HashMap<u64, Vec<f32>> {
    let worded = |row: &u64| vectors.get(row).filter(|vector| vector.iter().any(|value| *value != 0.0));
    let of = |(row, first): (&u64, &u64)| Some((*row, worded(first).or_else(|| worded(row))?.clone()));
    beginnings.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_without_words_leaves_the_rows_own() {
        let beginnings = HashMap::from([(1, 1), (2, 1), (4, 3), (5, 3), (6, 3)]);
        let vectors = [(1, [1.0, 0.0]), (2, [0.5, 0.5]), (3, [0.0, 0.0]), (4, [0.0, 1.0]), (5, [0.0, 0.0])];
        let vectors = vectors.map(|(row, vector)| (row, vector.to_vec())).into();
        let expected = [(1, vec![1.0, 0.0]), (2, vec![1.0, 0.0]), (4, vec![0.0, 1.0])];
        assert_eq!(chosen(&beginnings, &vectors), expected.into());
        assert_eq!(all_rows(&beginnings), [1, 2, 3, 4, 5, 6]);
    }
}
