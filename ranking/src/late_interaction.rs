//! Late interaction: how well a passage answers a query, token by token.
//!
//! Each token of a text has a vector of its own. For each token of the query the most similar token of the passage is
//! found, and the similarities are averaged (MaxSim; Khattab and Zaharia, "ColBERT", SIGIR 2020). Vectors are held as
//! whole numbers of eight bits: only their directions count, so each may be scaled as fits it best, and no scale has to be
//! kept.

/// Numbers that the processor multiplies and adds at once, about: sums in as many lanes need no order.
const LANES: usize = 32;

/// The vectors of a text's tokens, one after another. A view: whoever holds the numbers keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenVectors<'a> {
    dimension: usize,
    values: &'a [i8],
}

/// Numbers that are no vectors of that length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{values} numbers make no vectors of {dimension}")]
pub struct TokenVectorsError {
    /// How many numbers there are.
    pub values: usize,
    /// The length of one vector.
    pub dimension: usize,
}

/// The passage's token that answers one token of the query best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TokenMatch {
    /// Place of the passage's token.
    pub passage_token: usize,
    /// The cosine of the two, -1 to 1.
    pub similarity: f64,
}

impl<'a> TokenVectors<'a> {
    /// Longest vectors: sums of their products fit 32 bits.
    pub const MAX_DIMENSION: usize = 65_536;

    /// Takes numbers as vectors of `dimension`.
    ///
    /// # Errors
    /// A dimension of 0 or above [`Self::MAX_DIMENSION`], and numbers that are not a whole number of vectors.
    pub fn new(values: &'a [i8], dimension: usize) -> Result<Self, TokenVectorsError> {
        let whole = (1..=Self::MAX_DIMENSION).contains(&dimension) && values.len().is_multiple_of(dimension);
        if whole { Ok(Self { dimension, values }) } else { Err(TokenVectorsError { values: values.len(), dimension }) }
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        self.values.len() / self.dimension
    }

    fn iter(&self) -> std::slice::ChunksExact<'a, i8> {
        self.values.chunks_exact(self.dimension)
    }
}

/// A query's token vectors, made ready to be compared with many passages.
#[derive(Debug, Clone)]
pub struct LateInteraction<'a> {
    query: TokenVectors<'a>,
    /// One over the length of each of the query's vectors; 0 for a vector of zeros, which is similar to nothing.
    inverse_lengths: Vec<f32>,
}

impl<'a> LateInteraction<'a> {
    /// Gets a query ready.
    pub fn new(query: TokenVectors<'a>) -> Self {
        Self { query, inverse_lengths: inverse_lengths(&query) }
    }

    /// The mean over the query's tokens of the cosine to the passage's most similar token, -1 to 1.
    ///
    /// `None` when there is nothing to compare: the query or the passage has no tokens, or their vectors differ in length.
    pub fn max_sim(&self, passage: &TokenVectors<'_>) -> Option<f64> {
        self.matches(passage).map(|matches| mean_similarity(&matches))
    }

    /// For each token of the query, in order, the passage's token that is most similar to it; of equal ones the first.
    ///
    /// `None` as in [`Self::max_sim`].
    pub fn matches(&self, passage: &TokenVectors<'_>) -> Option<Vec<TokenMatch>> {
        if self.query.values.is_empty() || passage.values.is_empty() || self.query.dimension != passage.dimension {
            return None;
        }
        let lengths = inverse_lengths(passage);
        let best_of = |(query, query_length): (&[i8], &f32)| {
            let mut best = (0, f32::NEG_INFINITY);
            for (place, (token, length)) in passage.iter().zip(&lengths).enumerate() {
                let similarity = dot(query, token) as f32 * length;
                if similarity > best.1 {
                    best = (place, similarity);
                }
            }
            TokenMatch { passage_token: best.0, similarity: f64::from(best.1 * query_length) }
        };
        Some(self.query.iter().zip(&self.inverse_lengths).map(best_of).collect())
    }
}

/// The score that the matches of a query's tokens come to; no number where there are none.
pub fn mean_similarity(matches: &[TokenMatch]) -> f64 {
    matches.iter().map(|found| found.similarity).sum::<f64>() / matches.len() as f64
}

fn inverse_lengths(vectors: &TokenVectors<'_>) -> Vec<f32> {
    let inverse = |vector: &[i8]| match dot(vector, vector) {
        0 => 0.0,
        squares => 1.0 / (squares as f32).sqrt(),
    };
    vectors.iter().map(inverse).collect()
}

/// The inner product of vectors of one length, exactly.
fn dot(left: &[i8], right: &[i8]) -> i32 {
    let product = |(a, b): (&i8, &i8)| i32::from(*a) * i32::from(*b);
    let (left_lanes, right_lanes) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let rest: i32 = left_lanes.remainder().iter().zip(right_lanes.remainder()).map(product).sum();
    let whole: i32 = left_lanes.zip(right_lanes).map(|(a, b)| a.iter().zip(b).map(product).sum::<i32>()).sum();
    whole + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vectors(values: &[i8], dimension: usize) -> TokenVectors<'_> {
        TokenVectors::new(values, dimension).unwrap()
    }

    #[test]
    fn each_token_of_the_query_finds_its_best() {
        let query = vectors(&[1, 0, 0, 2], 2);
        let passage = vectors(&[3, 4, 5, 0, 0, -7], 2);
        let late = LateInteraction::new(query);
        let found = late.matches(&passage).unwrap();
        assert_eq!(found.iter().map(|found| found.passage_token).collect::<Vec<_>>(), [1, 0]);
        assert!((late.max_sim(&passage).unwrap() - 0.9).abs() < 1e-6);
    }

    #[test]
    fn a_query_of_one_token_and_a_passage_of_none() {
        let late = LateInteraction::new(vectors(&[9, 0], 2));
        assert!((late.max_sim(&vectors(&[0, 1, 1, 0], 2)).unwrap() - 1.0).abs() < 1e-6);
        assert_eq!(late.max_sim(&vectors(&[], 2)), None);
        assert_eq!(LateInteraction::new(vectors(&[], 2)).max_sim(&vectors(&[1, 0], 2)), None);
        assert_eq!(late.max_sim(&vectors(&[1, 0, 0], 3)), None);
    }

    #[test]
    fn vectors_of_zeros_are_similar_to_nothing() {
        let late = LateInteraction::new(vectors(&[0, 0], 2));
        assert_eq!(late.max_sim(&vectors(&[1, 0], 2)), Some(0.0));
        let late = LateInteraction::new(vectors(&[1, 0], 2));
        assert_eq!(late.max_sim(&vectors(&[0, 0], 2)), Some(0.0));
    }

    #[test]
    fn numbers_that_are_no_vectors_are_refused() {
        for (values, dimension) in [(3, 2), (4, 0), (0, 0), (0, TokenVectors::MAX_DIMENSION + 1)] {
            let numbers = vec![1; values];
            assert_eq!(TokenVectors::new(&numbers, dimension), Err(TokenVectorsError { values, dimension }));
        }
    }

    #[test]
    fn the_largest_products_do_not_overflow() {
        let numbers = vec![i8::MIN; TokenVectors::MAX_DIMENSION];
        let longest = vectors(&numbers, TokenVectors::MAX_DIMENSION);
        assert!((LateInteraction::new(longest).max_sim(&longest).unwrap() - 1.0).abs() < 1e-6);
    }

    fn plain(query: &[Vec<i8>], passage: &[Vec<i8>]) -> f64 {
        let length = |vector: &[i8]| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let cosine = |a: &[i8], b: &[i8]| {
            let product: f64 = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let lengths = length(a) * length(b);
            if lengths == 0.0 { 0.0 } else { product / lengths }
        };
        let best = |token: &Vec<i8>| passage.iter().map(|other| cosine(token, other)).fold(f64::NEG_INFINITY, f64::max);
        query.iter().map(best).sum::<f64>() / query.len() as f64
    }

    fn texts() -> impl Strategy<Value = (Vec<Vec<i8>>, Vec<Vec<i8>>)> {
        (1..80_usize).prop_flat_map(|dimension| {
            let tokens = move |count| prop::collection::vec(prop::collection::vec(any::<i8>(), dimension), 1..count);
            (tokens(6), tokens(12))
        })
    }

    proptest! {
        #[test]
        fn it_is_what_the_plain_formula_gives((query, passage) in texts()) {
            let dimension = query[0].len();
            let (query_values, passage_values) = (query.concat(), passage.concat());
            let late = LateInteraction::new(vectors(&query_values, dimension));
            let found = late.max_sim(&vectors(&passage_values, dimension)).unwrap();
            prop_assert!((found - plain(&query, &passage)).abs() < 1e-5);
        }
    }
}
