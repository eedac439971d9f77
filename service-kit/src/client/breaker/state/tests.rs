use proptest::prelude::*;

use super::*;

const RULE: Rule = Rule { calls: 4, failures_percent: 50, pause: Duration::from_millis(100) };

fn passed(verdict: Verdict) -> Mark {
    match verdict {
        Verdict::Pass(mark) => mark,
        Verdict::Refuse(pause) => panic!("refused for {pause:?}"),
    }
}

/// A breaker that calls made open, at the given moment.
fn opened(now: Instant) -> Breaker {
    let mut breaker = Breaker::new(RULE, now);
    for _ in 0..RULE.calls {
        let mark = passed(breaker.ask(now));
        breaker.tell(mark, Health::Failed, now);
    }
    assert_eq!(breaker.phase(), Phase::Open);
    breaker
}

#[tokio::test]
async fn it_opens_at_the_share_of_failures_and_not_before() {
    use Health::{Answered, Failed, Unknown};
    let table: [(&[Health], Phase); 5] = [
        (&[Failed, Failed, Failed], Phase::Closed),
        (&[Failed, Failed, Failed, Failed], Phase::Open),
        (&[Answered, Answered, Failed, Failed], Phase::Open),
        (&[Answered, Answered, Answered, Failed], Phase::Closed),
        (&[Failed, Failed, Failed, Unknown, Unknown], Phase::Closed),
    ];
    let now = Instant::now();
    for (outcomes, phase) in table {
        let mut breaker = Breaker::new(RULE, now);
        for health in outcomes {
            let mark = passed(breaker.ask(now));
            breaker.tell(mark, *health, now);
        }
        assert_eq!(breaker.phase(), phase, "{outcomes:?}");
    }
}

#[tokio::test]
async fn failures_that_are_old_do_not_count() {
    let now = Instant::now();
    let mut breaker = Breaker::new(RULE, now);
    for second in 0..40 {
        let at = now + Duration::from_secs(second * 4);
        let mark = passed(breaker.ask(at));
        breaker.tell(mark, Health::Failed, at);
    }
    assert_eq!(breaker.phase(), Phase::Closed, "never four calls within ten seconds");
}

#[tokio::test]
async fn one_probe_at_a_time_closes_it_and_one_that_fails_doubles_the_pause() {
    let now = Instant::now();
    let mut breaker = opened(now);
    assert_eq!(breaker.ask(now), Verdict::Refuse(RULE.pause));

    let later = now + RULE.pause;
    let probe = passed(breaker.ask(later));
    assert!(matches!(breaker.ask(later), Verdict::Refuse(_)), "a second probe beside the first");
    breaker.tell(probe, Health::Failed, later);
    assert_eq!(breaker.ask(later), Verdict::Refuse(RULE.pause * 2));

    let later = later + RULE.pause * 2;
    for _ in 0..PROBES {
        let probe = passed(breaker.ask(later));
        breaker.tell(probe, Health::Answered, later);
    }
    assert_eq!(breaker.phase(), Phase::Closed);
}

#[tokio::test]
async fn a_probe_that_was_given_up_makes_room_for_another() {
    let now = Instant::now();
    let mut breaker = opened(now);
    let later = now + RULE.pause;
    let probe = passed(breaker.ask(later));
    breaker.tell(probe, Health::Unknown, later);
    passed(breaker.ask(later));
}

/// What can happen to a breaker.
#[derive(Clone, Debug)]
enum Step {
    Ask,
    /// The outcome of one of the calls under way, by its place among them.
    Tell(usize, Health),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let health = prop_oneof![Just(Health::Answered), Just(Health::Failed), Just(Health::Unknown)];
    prop_oneof![
        4 => Just(Step::Ask),
        4 => (any::<usize>(), health).prop_map(|(which, health)| Step::Tell(which, health)),
        1 => (0_u64..3_000).prop_map(Step::Wait),
    ]
}

proptest! {
    /// Whatever happens: closed it refuses nothing, open it refuses everything and says for how long, half open
    /// it has at most one probe under way, and nobody is refused for longer than the longest pause.
    #[test]
    fn its_promises_hold(steps in prop::collection::vec(step(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _entered = runtime.enter();
        let mut now = Instant::now();
        let mut breaker = Breaker::new(RULE, now);
        let mut under_way: Vec<Mark> = Vec::new();
        for step in steps {
            match step {
                Step::Ask => {
                    let before = breaker.phase();
                    match breaker.ask(now) {
                        Verdict::Pass(mark) => under_way.push(mark),
                        Verdict::Refuse(pause) => {
                            prop_assert_ne!(before, Phase::Closed);
                            prop_assert!(pause <= RULE.pause * 2_u32.pow(DOUBLINGS));
                        }
                    }
                    if breaker.phase() == Phase::HalfOpen {
                        let probes = under_way.iter().filter(|mark| **mark == Mark(breaker.mark)).count();
                        prop_assert!(probes <= 1, "{probes} probes");
                    }
                }
                Step::Tell(which, health) if !under_way.is_empty() => {
                    let mark = under_way.swap_remove(which % under_way.len());
                    let (phase, current) = (breaker.phase(), Mark(breaker.mark));
                    breaker.tell(mark, health, now);
                    if mark != current {
                        prop_assert_eq!(breaker.phase(), phase, "a late outcome changed the state");
                    }
                }
                Step::Tell(..) => {}
                Step::Wait(ms) => now += Duration::from_millis(ms),
            }
        }
    }
}
