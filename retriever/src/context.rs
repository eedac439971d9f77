//! What a chunk's vector knows of its document.
//!
//! A chunk by itself says little of what its document is about: the third paragraph of a reference page names neither the
//! page's subject nor its purpose. So each vector is drawn towards the mean of its document's vectors before it is
//! stored. Within a document the order of chunks does not change by that; between documents, one whose chunks all are
//! near to the query goes before one that touches its words in passing.

/// How far vectors of new collections are drawn, in hundredths of the mean added to each.
pub const DOCUMENT_CONTEXT_PERCENT: u8 = 30;

/// Turns each vector `v` of a document into `(v + w m) / (1 + w)`, where `m` is their mean and `w` is `percent` / 100.
///
/// Vectors of length 1 become vectors of at most that length, and the one vector of a short document stays as it is.
/// Vectors of zeros, which stand for chunks without words, stay zero and do not count.
pub fn draw_to_document<'a>(vectors: impl IntoIterator<Item = &'a mut Vec<f32>>, percent: u8) {
    let mut vectors: Vec<&mut Vec<f32>> =
        vectors.into_iter().filter(|vector| vector.iter().any(|value| *value != 0.0)).collect();
    let dimension = vectors.first().map_or(0, |vector| vector.len());
    if vectors.len() < 2 || percent == 0 {
        return;
    }
    let mut mean = vec![0.0_f64; dimension];
    for vector in &vectors {
        mean.iter_mut().zip(vector.iter()).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let weight = f64::from(percent) / 100.0;
    let share = weight / vectors.len() as f64;
    for vector in &mut vectors {
        let drawn =
            |(value, sum): (&mut f32, &f64)| *value = ((f64::from(*value) + share * sum) / (1.0 + weight)) as f32;
        vector.iter_mut().zip(&mean).for_each(drawn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::normalise;
    use proptest::prelude::*;

    fn similarity(left: &[f32], right: &[f32]) -> f32 {
        left.iter().zip(right).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_move_towards_their_mean() {
        let mut vectors = vec![vec![1.0, 0.0], vec![0.0, 1.0], vec![0.0, 0.0]];
        draw_to_document(&mut vectors, 100);
        assert_eq!(vectors, [vec![0.75, 0.25], vec![0.25, 0.75], vec![0.0, 0.0]]);
    }

    #[test]
    fn one_vector_stays_as_it_is() {
        let mut vectors = vec![vec![0.6, 0.8], vec![0.0, 0.0]];
        draw_to_document(&mut vectors, 30);
        assert_eq!(vectors, [vec![0.6, 0.8], vec![0.0, 0.0]]);
    }

    proptest! {
        #[test]
        fn lengths_stay_and_the_order_within_a_document_too(
            mut vectors in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 4), 2..8),
            query in prop::collection::vec(-1.0_f32..1.0, 4),
            percent in 0..=100_u8,
        ) {
            vectors.iter_mut().for_each(|vector| { normalise(vector); });
            let before = vectors.clone();
            draw_to_document(&mut vectors, percent);
            for vector in &vectors {
                prop_assert!(similarity(vector, vector) <= 1.0 + 1e-5);
            }
            for (left, right) in (0..vectors.len()).zip(1..vectors.len()) {
                let gap = similarity(&before[left], &query) - similarity(&before[right], &query);
                let drawn = similarity(&vectors[left], &query) - similarity(&vectors[right], &query);
                prop_assert!(gap.abs() < 1e-4 || gap.signum() == drawn.signum(), "{gap} became {drawn}");
            }
        }
    }
}
