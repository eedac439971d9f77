//! Which texts make up which batch.

use trivium_ranking::random::SplitMix64;

/// Batches whose texts are shuffled together before they are sorted by length: enough that a
/// batch's texts are alike in length, few enough that they are not in label.
const POOL_BATCHES: usize = 16;

/// The batches of one epoch: every text once, texts of like length together, batches in random
/// order. A function of seed and epoch. Only the last batch may be short of `size`.
pub(crate) fn batches(lengths: &[usize], size: usize, seed: u64, epoch: usize) -> Vec<Vec<usize>> {
    let mut random = SplitMix64::keyed(&[seed, PURPOSE, epoch as u64]);
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    random.shuffle(&mut order);
    for pool in order.chunks_mut(size * POOL_BATCHES) {
        pool.sort_by_key(|&text| lengths[text]);
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(size).map(<[usize]>::to_vec).collect();
    random.shuffle(&mut batches);
    batches
}

/// Cuts a batch so that no part holds more than `most` tokens, unless a single text does: what a
/// pass keeps grows with the tokens, and long texts must not multiply it.
pub(crate) fn parts<'a>(batch: &'a [usize], lengths: &[usize], most: usize) -> Vec<&'a [usize]> {
    let mut parts = Vec::new();
    let (mut from, mut tokens) = (0, 0);
    for (place, &text) in batch.iter().enumerate() {
        if tokens > 0 && tokens + lengths[text] > most {
            parts.push(&batch[from..place]);
            (from, tokens) = (place, 0);
        }
        tokens += lengths[text];
    }
    if from < batch.len() {
        parts.push(&batch[from..]);
    }
    parts
}

/// Keeps the order of texts apart from all else that the seed decides.
const PURPOSE: u64 = 0x6261_7463_6865_7321;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_text_is_in_one_batch(
            lengths in prop::collection::vec(1usize..50, 0..300), size in 1usize..20, seed in any::<u64>(),
        ) {
            let found = batches(&lengths, size, seed, 3);
            prop_assert_eq!(&found, &batches(&lengths, size, seed, 3));
            prop_assert!(found.iter().filter(|batch| batch.len() < size).count() <= 1);
            let mut texts: Vec<usize> = found.into_iter().flatten().collect();
            texts.sort_unstable();
            prop_assert_eq!(texts, (0..lengths.len()).collect::<Vec<_>>());
        }

        #[test]
        fn parts_are_the_batch_within_the_limit(lengths in prop::collection::vec(1usize..50, 1..60), most in 1usize..90) {
            let batch: Vec<usize> = (0..lengths.len()).rev().collect();
            let parts = parts(&batch, &lengths, most);
            let tokens = |part: &[usize]| part.iter().map(|&text| lengths[text]).sum::<usize>();
            prop_assert!(parts.iter().all(|part| part.len() == 1 || tokens(part) <= most));
            prop_assert_eq!(parts.concat(), batch);
        }
    }

    #[test]
    fn epochs_differ_and_lengths_are_bucketed() {
        let lengths: Vec<usize> = (0..1000).map(|text| text * 7919 % 50).collect();
        let first = batches(&lengths, 10, 1, 0);
        assert_ne!(first, batches(&lengths, 10, 1, 1));
        let spread = |batch: &Vec<usize>| {
            let lengths = batch.iter().map(|&text| lengths[text]);
            lengths.clone().max().unwrap() - lengths.min().unwrap()
        };
        let mean = first.iter().map(spread).sum::<usize>() as f64 / first.len() as f64;
        assert!(mean < 10.0, "{mean}");
    }
}
