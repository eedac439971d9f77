use proptest::prelude::*;

use super::*;

const METHOD: &str = "method";

/// A moment to count from. The clock of tokio needs no runtime to be read.
fn start() -> Instant {
    Instant::now()
}

/// A server that works on all its calls at once, at full speed up to a number of them, and a source that offers calls
/// at random moments. One step is a millisecond.
struct World {
    now: Instant,
    limiter: Limiter,
    running: Vec<(Entry, f64)>,
    /// Calls that run at full speed side by side.
    capacity: f64,
    /// What a call takes alone, in milliseconds.
    alone_ms: f64,
    /// Calls offered in a millisecond, on average.
    offered: f64,
    random: u64,
    served: u64,
}

impl World {
    fn new(capacity: f64, alone_ms: f64, load: f64) -> Self {
        let now = start();
        let bounds = Bounds { min: 4, max: 1_000, slowdown: 2.0 };
        Self {
            now,
            limiter: Limiter::new(bounds, now),
            running: Vec::new(),
            capacity,
            alone_ms,
            offered: load * capacity / alone_ms,
            random: 7,
            served: 0,
        }
    }

    /// A number from 0 to 1 (Knuth's multiplicative generator, whose high bits are good enough for arrivals).
    fn random(&mut self) -> f64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 40) as f64 / (1_u64 << 24) as f64
    }

    /// Lets some seconds pass; gives the mean limit over them.
    fn run(&mut self, seconds: u64) -> f64 {
        let steps = seconds * 1_000;
        let mut limits = 0.0;
        for _ in 0..steps {
            self.step();
            limits += self.limiter.limit;
        }
        limits / steps as f64
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(1);
        let mut arrivals = self.offered.floor();
        arrivals += f64::from(u8::from(self.random() < self.offered.fract()));
        for _ in 0..arrivals as usize {
            // Calls differ in length, by up to a half.
            let work = self.alone_ms * (0.5 + self.random());
            if let Ok(entry) = self.limiter.enter(self.now) {
                self.running.push((entry, work));
            }
        }
        let speed = (self.capacity / self.running.len().max(1) as f64).min(1.0);
        let (now, limiter, served) = (self.now, &mut self.limiter, &mut self.served);
        self.running.retain_mut(|(entry, left)| {
            *left -= speed;
            if *left > 0.0 {
                return true;
            }
            limiter.leave(*entry, Some(METHOD), now);
            *served += 1;
            false
        });
    }
}

/// A slow-down of two means twice as many calls as run at full speed.
fn assert_near(limit: f64, capacity: f64) {
    let expected = capacity * 2.0;
    assert!((limit / expected - 1.0).abs() < 0.2, "the limit is {limit:.1}, and {expected} was to be found");
}

#[test]
fn it_finds_the_capacity_of_a_server_that_is_offered_too_much() {
    for capacity in [10.0, 40.0, 150.0] {
        let mut world = World::new(capacity, 50.0, 2.0);
        world.run(20);
        let before = world.served;
        assert_near(world.run(60), capacity);
        let share = (world.served - before) as f64 / (60_000.0 * capacity / 50.0);
        assert!(share > 0.95, "probes and all, {share:.3} of the server is used");
    }
}

#[test]
fn it_recovers_from_a_slow_phase() {
    let mut world = World::new(40.0, 50.0, 2.0);
    world.run(30);
    world.alone_ms = 250.0;
    world.run(15);
    world.alone_ms = 50.0;
    world.run(45);
    assert_near(world.run(30), 40.0);
}

#[test]
fn a_server_with_time_to_spare_refuses_nothing() {
    let mut world = World::new(40.0, 50.0, 0.5);
    world.run(60);
    assert_eq!(world.limiter.refused, 0);
}

#[test]
fn who_is_refused_is_told_the_time_in_which_as_many_end_and_not_all_the_same() {
    let mut world = World::new(10.0, 50.0, 3.0);
    world.run(60);
    let hints: Vec<Duration> = (0..100).filter_map(|_| world.limiter.enter(world.now).err()).collect();
    let mean = hints.iter().map(Duration::as_secs_f64).sum::<f64>() / hints.len() as f64;
    // Twenty run, and two hundred end in a second.
    assert!((0.05..0.2).contains(&mean), "{mean}");
    let mut different = hints.clone();
    different.sort();
    different.dedup();
    assert!(different.len() > 50, "{hints:?}");
}

proptest! {
    /// Whatever calls come and go, the limit stays within its bounds, and no more run than it allows.
    #[test]
    fn the_limit_stays_within_its_bounds(steps in prop::collection::vec((any::<bool>(), 0_u64..5_000, any::<bool>()), 0..400)) {
        let bounds = Bounds { min: 3, max: 20, slowdown: 2.0 };
        let mut now = start();
        let mut limiter = Limiter::new(bounds, now);
        let mut running = Vec::new();
        for (enters, wait_ms, is_timed) in steps {
            now += Duration::from_millis(wait_ms);
            if enters {
                let limit = limiter.limit();
                match limiter.enter(now) {
                    Ok(entry) => running.push(entry),
                    Err(hint) => {
                        prop_assert!(running.len() >= bounds.min.min(limit));
                        prop_assert!((SHORTEST_HINT..=LONGEST_HINT).contains(&hint));
                    }
                }
            } else if let Some(entry) = running.pop() {
                limiter.leave(entry, is_timed.then_some(METHOD), now);
            }
            prop_assert!((bounds.min..=bounds.max).contains(&limiter.limit()), "{}", limiter.limit());
            prop_assert_eq!(limiter.in_flight, running.len());
        }
    }
}
