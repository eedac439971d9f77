//! Random numbers without hidden state: a stream is a function of its key alone, so that a
//! resumed run draws what the interrupted one would have drawn.

/// SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// The stream of a key: a seed, and what the numbers are for.
    pub(crate) fn keyed(key: &[u64]) -> Self {
        let mixed = key.iter().fold(0x5bd1_e995_9e37_79b9, |state, &part| mix(state ^ mix(part.wrapping_add(GAMMA))));
        Self(mixed)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// Uniform in 0 (inclusive) to 1 (exclusive).
    pub(crate) fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From the standard normal distribution (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Uniform in 0 to `end`, exclusive; `end` is at least 1. The bias of the multiplication
    /// is below 2^-32 for every list that fits into memory here.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.bits()) * end as u128) >> 64) as usize
    }

    /// Puts a list into a random order (Durstenfeld 1964).
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_its_key() {
        let draw = |key: &[u64]| {
            let mut random = Random::keyed(key);
            [random.bits(), random.bits()]
        };
        assert_eq!(draw(&[1, 2]), draw(&[1, 2]));
        assert_ne!(draw(&[1, 2]), draw(&[2, 1]));
        assert_ne!(draw(&[0]), draw(&[0, 0]));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = Random::keyed(&[7]);
        let count = 40_000;
        let uniform = (0..count).map(|_| random.uniform()).sum::<f64>() / f64::from(count);
        assert!((uniform - 0.5).abs() < 0.01, "{uniform}");
        let squares = (0..count).map(|_| random.normal().powi(2)).sum::<f64>() / f64::from(count);
        assert!((squares - 1.0).abs() < 0.03, "{squares}");
    }

    #[test]
    fn shuffling_keeps_every_element() {
        let mut list: Vec<usize> = (0..100).collect();
        Random::keyed(&[3]).shuffle(&mut list);
        assert_ne!(list, (0..100).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
    }
}
