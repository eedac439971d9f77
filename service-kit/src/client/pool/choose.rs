//! Which replica a call goes to: of two at random, the one with fewer calls in flight (Mitzenmacher, "The Power of Two
//! Choices in Randomized Load Balancing", 2001). Pure.

use std::sync::atomic::{AtomicU64, Ordering};

use tower::util::rng::{HasherRng, Rng};

/// A replica as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct Candidate {
    /// Calls in flight.
    pub load: usize,
    /// Whether it has done well of late.
    pub is_fit: bool,
    /// Whether a connection to it is just being made, for which a call would wait.
    pub is_connecting: bool,
    /// Whether this call has been there already.
    pub was_tried: bool,
}

/// The place of the replica to call; `None` when there is none that was not tried. Those that are fit and connected go
/// before those that are not; but when none is fit, an unfit one is better than nothing.
pub(super) fn choose(candidates: &[Candidate], mut random_below: impl FnMut(usize) -> usize) -> Option<usize> {
    let tiers: [fn(&Candidate) -> bool; 3] =
        [|candidate| candidate.is_fit && !candidate.is_connecting, |candidate| candidate.is_fit, |_| true];
    tiers.iter().find_map(|is_in| {
        let tier = |candidate: &Candidate| !candidate.was_tried && is_in(candidate);
        let count = candidates.iter().filter(|candidate| tier(candidate)).count();
        let nth = |n: usize| (0..candidates.len()).filter(|place| tier(&candidates[*place])).nth(n);
        match count {
            0 => None,
            1 => nth(0),
            _ => {
                let first = random_below(count);
                // The second is another one: an offset of at least 1 round the circle.
                let second = (first + 1 + random_below(count - 1)) % count;
                let (first, second) = (nth(first)?, nth(second)?);
                Some(if candidates[second].load < candidates[first].load { second } else { first })
            }
        }
    })
}

/// Random numbers that many calls draw from at once: SplitMix64 over a counter (Steele, Lea, Flood, 2014).
#[derive(Debug)]
pub(super) struct Dice(AtomicU64);

impl Dice {
    /// Dice that fall differently in each process.
    pub fn new() -> Self {
        Self(AtomicU64::new(HasherRng::default().next_u64()))
    }

    fn next(&self) -> u64 {
        const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&self, bound: usize) -> usize {
        // Of 64 random bits the modulo of a small number is as good as even.
        (self.next() % bound.max(1) as u64) as usize
    }

    /// A number from 0 to 1.
    pub fn share(&self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn candidate(load: usize) -> Candidate {
        Candidate { load, is_fit: true, is_connecting: false, was_tried: false }
    }

    #[test]
    fn fit_ones_go_first_and_none_is_tried_twice() {
        let fit = candidate(9);
        let unfit = Candidate { is_fit: false, ..candidate(0) };
        let connecting = Candidate { is_connecting: true, ..candidate(0) };
        let tried = Candidate { was_tried: true, ..candidate(0) };
        let table: [(&[Candidate], Option<usize>); 7] = [
            (&[], None),
            (&[tried], None),
            (&[unfit, fit, connecting, tried], Some(1)),
            (&[unfit, connecting, tried], Some(1)),
            (&[unfit, tried], Some(0)),
            (&[tried, fit], Some(1)),
            (&[fit], Some(0)),
        ];
        let dice = Dice::new();
        for (candidates, expected) in table {
            assert_eq!(choose(candidates, |bound| dice.below(bound)), expected, "{candidates:?}");
        }
    }

    #[test]
    fn calls_that_take_long_pile_up_nowhere() {
        // Ten replicas; each call stays for as long as a hundred others take to come.
        let dice = Dice(AtomicU64::new(7));
        let mut loads = [0_usize; 10];
        let mut running = std::collections::VecDeque::new();
        for _ in 0..10_000 {
            let candidates: Vec<Candidate> = loads.iter().map(|load| candidate(*load)).collect();
            let place = choose(&candidates, |bound| dice.below(bound)).expect("there are ten");
            loads[place] += 1;
            running.push_back(place);
            if running.len() > 100 {
                loads[running.pop_front().expect("a hundred")] -= 1;
            }
            assert!(loads.iter().all(|load| *load <= 16), "{loads:?}");
        }
    }

    proptest! {
        #[test]
        fn the_busiest_of_three_or_more_is_never_chosen(loads in prop::collection::vec(0_usize..100, 2..8), seed: u64) {
            let most = 1_000;
            let mut candidates: Vec<Candidate> = loads.into_iter().map(candidate).collect();
            candidates.push(candidate(most));
            let dice = Dice(AtomicU64::new(seed));
            for _ in 0..50 {
                let place = choose(&candidates, |bound| dice.below(bound)).expect("there are several");
                prop_assert!(candidates[place].load < most);
            }
        }
    }
}
