//! Pseudo-random numbers that a seed or key says all about, for resampling, training and
//! measurements: a run that is resumed draws what the interrupted one would have drawn.

/// The generator of Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014. Small, seeded, and the same everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    /// The sequence of a seed. Every seed has one of its own.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The sequence of a key: a seed, and what the numbers are for.
    pub fn keyed(key: &[u64]) -> Self {
        let absorb = |state: u64, &part: &u64| mix(state ^ mix(part.wrapping_add(GAMMA)));
        Self { state: key.iter().fold(0x5bd1_e995_9e37_79b9, absorb) }
    }

    /// The next number of the sequence.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GAMMA);
        mix(self.state)
    }

    /// Uniform in 0 (inclusive) to 1 (exclusive).
    pub fn uniform(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From the standard normal distribution (Box and Muller 1958).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// A number from 0 to `bound - 1`: the high half of a product, whose bias is
    /// below `bound / 2^64` and so far below anything a resample could show.
    pub fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.draw()) * bound as u128;
        (product >> 64) as usize
    }

    /// Puts a list into a random order (Durstenfeld 1964).
    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.below(last + 1));
        }
    }
}

/// What the state moves on by: 2^64 over the golden ratio, made odd.
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
    fn the_generator_gives_the_published_sequence() {
        // The first outputs for seed 1234567, as the reference implementation prints them.
        let mut random = SplitMix64::new(1_234_567);
        let found = [random.draw(), random.draw(), random.draw()];
        let published = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(found, published);
    }

    #[test]
    fn a_stream_is_a_function_of_its_key() {
        let draw = |key: &[u64]| {
            let mut random = SplitMix64::keyed(key);
            [random.draw(), random.draw()]
        };
        assert_eq!(draw(&[1, 2]), draw(&[1, 2]));
        assert_ne!(draw(&[1, 2]), draw(&[2, 1]));
        assert_ne!(draw(&[0]), draw(&[0, 0]));
    }

    #[test]
    fn moments_are_those_of_the_distributions() {
        let mut random = SplitMix64::keyed(&[7]);
        let count = 40_000;
        let uniform = (0..count).map(|_| random.uniform()).sum::<f64>() / f64::from(count);
        assert!((uniform - 0.5).abs() < 0.01, "{uniform}");
        let squares = (0..count).map(|_| random.normal().powi(2)).sum::<f64>() / f64::from(count);
        assert!((squares - 1.0).abs() < 0.03, "{squares}");
    }

    #[test]
    fn shuffling_keeps_every_element() {
        let mut list: Vec<usize> = (0..100).collect();
        SplitMix64::keyed(&[3]).shuffle(&mut list);
        assert_ne!(list, (0..100).collect::<Vec<_>>());
        list.sort_unstable();
        assert_eq!(list, (0..100).collect::<Vec<_>>());
    }
}
