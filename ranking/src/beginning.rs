//! How well the document behind a passage answers a query, by its beginning.
//!
//! A passage deep in a long document says little of what the document is about, and its beginning says much. So late
//! interaction's score of a passage is put together with the cosine of the query's vector and that of the document's first
//! passage, both of which a search has at hand.

/// Share of the beginning in a passage's score; see ADR 30 for where it comes from.
pub const BEGINNING_SHARE: f64 = 0.2;

/// The score of a passage: `(1 - share) * passage + share * beginning`, both cosines, -1 to 1. Where nothing is known of
/// the beginning, the passage speaks for itself.
pub fn with_beginning(passage: f64, beginning: Option<f64>) -> f64 {
    beginning.map_or(passage, |beginning| (1.0 - BEGINNING_SHARE) * passage + BEGINNING_SHARE * beginning)
}

/// The cosine of two vectors, -1 to 1. `None` where there is none: the vectors differ in length, or one of them has no
/// direction.
pub fn cosine(left: &[f32], right: &[f32]) -> Option<f64> {
    if left.len() != right.len() {
        return None;
    }
    let (mut product, mut left_square, mut right_square) = (0.0, 0.0, 0.0);
    for (left, right) in left.iter().zip(right) {
        let (left, right) = (f64::from(*left), f64::from(*right));
        product += left * right;
        left_square += left * left;
        right_square += right * right;
    }
    let cosine = product / (left_square.sqrt() * right_square.sqrt());
    cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn vectors_without_a_direction_have_no_cosine() {
        assert_eq!(cosine(&[3.0, 4.0], &[6.0, 8.0]), Some(1.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), Some(0.0));
        for (left, right) in
            [(&[][..], &[][..]), (&[1.0], &[1.0, 0.0]), (&[0.0, 0.0], &[1.0, 0.0]), (&[f32::NAN], &[1.0])]
        {
            assert_eq!(cosine(left, right), None, "{left:?} {right:?}");
        }
    }

    #[test]
    fn a_passage_without_a_known_beginning_speaks_for_itself() {
        assert_eq!(with_beginning(0.5, None), 0.5);
        assert!((with_beginning(0.5, Some(1.0)) - 0.6).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn cosines_lie_within_their_range_and_know_no_lengths(
            pairs in prop::collection::vec((-1e3_f32..1e3, -1e3_f32..1e3), 1..40),
            factor in 1e-3_f32..1e3,
        ) {
            let (left, right): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let longer: Vec<f32> = left.iter().map(|value| value * factor).collect();
            match (cosine(&left, &right), cosine(&longer, &right)) {
                (Some(short), Some(long)) => {
                    prop_assert!((-1.0..=1.0).contains(&short));
                    prop_assert!((short - long).abs() < 1e-4);
                    prop_assert_eq!(cosine(&right, &left), Some(short));
                }
                (short, long) => prop_assert_eq!(short.is_some(), long.is_some()),
            }
        }

        #[test]
        fn the_score_lies_between_its_parts_and_grows_with_each(
            passage in -1.0..=1.0_f64, beginning in -1.0..=1.0_f64, more in 0.0..0.5_f64,
        ) {
            let score = with_beginning(passage, Some(beginning));
            prop_assert!(score >= passage.min(beginning) - 1e-12 && score <= passage.max(beginning) + 1e-12);
            prop_assert!(with_beginning(passage + more, Some(beginning)) >= score);
            prop_assert!(with_beginning(passage, Some(beginning + more)) >= score);
        }
    }
}
