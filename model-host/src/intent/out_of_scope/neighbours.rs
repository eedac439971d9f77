//! The distance to the nearest training queries.

use crate::intent::vectors::dot;
use crate::tensors::{Matrix, Tensor, TensorFile, TensorFileError, write};

/// The most training vectors that are kept: some twelve megabytes at 384 dimensions, and well
/// below a millisecond for a query.
const MOST_KEPT: usize = 8192;
/// The neighbour that counts, where labels have enough examples: near enough to see small
/// labels, far enough not to hang on one odd example.
const NEIGHBOUR: usize = 10;

/// Training vectors of length 1, and which neighbour counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    vectors: Matrix,
    /// From 1, and at most the number of vectors.
    k: usize,
}

impl Neighbours {
    /// Keeps at most [`MOST_KEPT`] of `vectors`, which have length 1, evenly spread over their
    /// order. `labels` is how many labels they have. `None` without vectors.
    pub fn new(vectors: &[Vec<f32>], labels: usize) -> Option<Self> {
        let dimension = vectors.first()?.len();
        let kept = vectors.len().min(MOST_KEPT);
        let spread = (0..kept).map(|index| &vectors[index * vectors.len() / kept][..]);
        let for_each_label = kept / labels.max(1);
        Some(Self {
            vectors: Matrix::from_rows(spread, dimension),
            // At most half of an average label's examples may have to be near.
            k: NEIGHBOUR.min(for_each_label / 2).max(1),
        })
    }

    /// Adds vectors of length 1 that are of one label, each so often that their own label fills
    /// the neighbours that count: there are too few of them to be the k nearest otherwise.
    pub fn accept(&mut self, vectors: &[Vec<f32>]) {
        let copies = self.k.div_ceil(vectors.len().max(1));
        for vector in std::iter::repeat_n(vectors, copies).flatten() {
            self.vectors.data.extend(vector);
        }
    }

    /// One less the cosine to the k-th nearest, 0 to 2. `vector` has length 1.
    pub fn distance(&self, vector: &[f32]) -> f32 {
        let mut cosines: Vec<f32> = self.vectors.rows().map(|row| dot(row, vector)).collect();
        let index = self.k.min(cosines.len()).saturating_sub(1);
        if cosines.is_empty() {
            return 2.0;
        }
        let (_, nth, _) = cosines.select_nth_unstable_by(index, |a, b| b.total_cmp(a));
        1.0 - *nth
    }

    /// Reads tensors `neighbours` (`[n, dimension]`) and `k` (`[1]`).
    pub fn from_safetensors(bytes: &[u8], dimension: usize) -> Result<Self, TensorFileError> {
        let file = TensorFile::parse(bytes)?;
        let vectors = file.matrix("neighbours", None, dimension)?;
        let k = file.counts("k", 1)?.first().map_or(0, |k| *k as usize);
        if k == 0 || k > vectors.len() {
            let expected = format!("1 to {}", vectors.len());
            return Err(TensorFileError::WrongTensor { name: "k", expected, found: k.to_string() });
        }
        Ok(Self { vectors, k })
    }

    /// Writes what [`Self::from_safetensors`] reads.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, TensorFileError> {
        // It is at most NEIGHBOUR.
        let k = [u32::try_from(self.k).unwrap_or(u32::MAX)];
        write(&[("neighbours", Tensor::Matrix(&self.vectors)), ("k", Tensor::Counts(&k))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circle(count: usize) -> Vec<Vec<f32>> {
        (0..count).map(|i| (i as f32 * 0.001).sin_cos()).map(|(y, x)| vec![x, y]).collect()
    }

    #[test]
    fn the_kth_neighbour_decides() {
        let vectors = [vec![1.0, 0.0], vec![0.0, 1.0], vec![-1.0, 0.0]];
        let neighbours = |k| Neighbours { vectors: Matrix::from_rows(vectors.iter().map(Vec::as_slice), 2), k };
        assert_eq!([1, 2, 3].map(|k| neighbours(k).distance(&[1.0, 0.0])), [0.0, 1.0, 2.0]);
    }

    #[test]
    fn what_is_kept_is_bounded_and_survives_its_file() {
        let neighbours = Neighbours::new(&circle(9000), 3).unwrap();
        assert_eq!((neighbours.vectors.len(), neighbours.k), (MOST_KEPT, NEIGHBOUR));
        let file = neighbours.to_safetensors().unwrap();
        assert_eq!(Neighbours::from_safetensors(&file, 2).unwrap(), neighbours);
        assert!(Neighbours::from_safetensors(&file, 3).is_err());
        assert_eq!(Neighbours::new(&circle(12), 3).unwrap().k, 2);
        assert!(Neighbours::new(&[], 3).is_none());
    }

    #[test]
    fn accepted_vectors_are_near_themselves() {
        let mut neighbours = Neighbours::new(&circle(60), 3).unwrap();
        let strange = vec![vec![-1.0, 0.0], vec![-0.99, 0.141]];
        assert!(neighbours.distance(&[-1.0, 0.0]) > 1.0);
        neighbours.accept(&strange);
        assert!(neighbours.distance(&[-1.0, 0.0]) < 0.02);
    }

    #[test]
    fn a_neighbour_that_is_not_there_is_refused() {
        let matrix = Matrix::from_rows([&[1.0, 0.0][..]], 2);
        for k in [0, 2] {
            let file = write(&[("neighbours", Tensor::Matrix(&matrix)), ("k", Tensor::Counts(&[k]))]).unwrap();
            assert!(Neighbours::from_safetensors(&file, 2).is_err(), "{k}");
        }
    }
}
