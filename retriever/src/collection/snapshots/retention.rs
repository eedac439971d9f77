//! Which states are kept, and which of them is meant: pure, with the time as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How many states are kept, and for how long. Tagged states are kept besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The newest states, whatever their age; at least the published one.
    pub newest: usize,
    /// Of older ones, the last of each interval of this length. Zero keeps none.
    pub interval: Duration,
    /// Up to this age.
    pub age: Duration,
}

/// An earlier state, as a search names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// By version, from 1.
    Version(u64),
    /// By tag.
    Tag(String),
    /// The newest kept state that was committed at or before this moment, in nanoseconds since 1970.
    Time(i128),
}

/// Why a state cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// It was there, and retention or a purge has removed it.
    #[error("{what} is not kept any more; there {there}")]
    Expired {
        /// The state that was asked for.
        what: String,
        /// What is kept, beginning with "is" or "are".
        there: String,
    },
    /// It never was.
    #[error("{what}; there {there}")]
    Unknown {
        /// What was asked for, and that it is not there.
        what: String,
        /// What is kept.
        there: String,
    },
}

/// States that an answer names at most; a message is no list.
const NAMED: usize = 20;

/// The versions to keep of `committed`, which gives the moment of each version in nanoseconds since 1970.
pub(super) fn retained(
    committed: &BTreeMap<u64, i128>,
    tagged: &BTreeSet<u64>,
    now_ns: i128,
    policy: RetentionPolicy,
) -> BTreeSet<u64> {
    let mut kept: BTreeSet<u64> = committed.keys().rev().take(policy.newest.max(1)).copied().collect();
    kept.extend(tagged.iter().filter(|version| committed.contains_key(version)));
    let (interval, age) = (nanoseconds(policy.interval), nanoseconds(policy.age));
    if interval > 0 {
        let young = committed.iter().filter(|(_, moment)| now_ns.saturating_sub(**moment) <= age);
        // Later versions of an interval take the place of earlier ones.
        let last: BTreeMap<i128, u64> =
            young.map(|(version, moment)| (moment.div_euclid(interval), *version)).collect();
        kept.extend(last.into_values());
    }
    kept
}

fn nanoseconds(duration: Duration) -> i128 {
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

/// The version that is meant. `kept` holds the published one.
///
/// # Errors
/// [`StateError`] when it is not kept or never was.
pub(super) fn resolve(
    wanted: &AsOf,
    kept: &BTreeMap<u64, i128>,
    tags: &BTreeMap<String, u64>,
    published: u64,
) -> Result<u64, StateError> {
    let there = || what_is_there(kept, tags);
    match wanted {
        AsOf::Version(version) if kept.contains_key(version) => Ok(*version),
        AsOf::Version(version) if (1..=published).contains(version) => {
            Err(StateError::Expired { what: format!("version {version}"), there: there() })
        }
        AsOf::Version(version) => {
            let what = format!("there is no version {version}; the published one is {published}");
            Err(StateError::Unknown { what, there: there() })
        }
        AsOf::Tag(tag) => {
            let unknown = || StateError::Unknown { what: format!("there is no tag {tag:?}"), there: there() };
            tags.get(tag).copied().filter(|version| kept.contains_key(version)).ok_or_else(unknown)
        }
        AsOf::Time(moment) => {
            let before = kept.iter().rev().find(|(_, committed)| *committed <= moment);
            let expired = || StateError::Expired { what: "a state of that time".to_owned(), there: there() };
            before.map(|(version, _)| *version).ok_or_else(expired)
        }
    }
}

/// The kept states in words, runs of versions together: "are versions 3, 7 to 9 (tags: a = 3)".
fn what_is_there(kept: &BTreeMap<u64, i128>, tags: &BTreeMap<String, u64>) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for version in kept.keys().rev() {
        match runs.last_mut() {
            Some((first, _)) if *first == version + 1 => *first = *version,
            _ => runs.push((*version, *version)),
        }
    }
    let named = runs.iter().take(NAMED).rev().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    });
    let more = if runs.len() > NAMED { "older ones and " } else { "" };
    let versions = named.collect::<Vec<_>>().join(", ");
    let names = tags.iter().take(NAMED).map(|(tag, version)| format!("{tag} = {version}"));
    let names = names.collect::<Vec<_>>().join(", ");
    let and_more = if tags.len() > NAMED { " and more" } else { "" };
    let tags = if names.is_empty() { "no tags".to_owned() } else { format!("tags: {names}{and_more}") };
    format!("are {more}versions {versions} ({tags})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i128 = 1_000_000_000;

    /// Versions with the second of their commit.
    fn committed(seconds: &[(u64, i128)]) -> BTreeMap<u64, i128> {
        seconds.iter().map(|(version, second)| (*version, second * SECOND)).collect()
    }

    fn policy(newest: usize, interval: u64, age: u64) -> RetentionPolicy {
        RetentionPolicy { newest, interval: Duration::from_secs(interval), age: Duration::from_secs(age) }
    }

    #[test]
    fn count_age_and_tags_decide() {
        let states = committed(&[(1, 5), (2, 8), (3, 12), (4, 19), (5, 21), (6, 22)]);
        let none = BTreeSet::new();
        let cases: [(RetentionPolicy, BTreeSet<u64>, &[u64]); 7] = [
            (policy(2, 0, 0), none.clone(), &[5, 6]),
            (policy(0, 0, 0), none.clone(), &[6]),
            (policy(99, 0, 0), none.clone(), &[1, 2, 3, 4, 5, 6]),
            (policy(1, 10, 100), none.clone(), &[2, 4, 6]),
            (policy(1, 10, 5), none, &[4, 6]),
            (policy(1, 0, 100), BTreeSet::from([1]), &[1, 6]),
            (policy(1, 0, 0), BTreeSet::from([9]), &[6]),
        ];
        for (policy, tagged, expected) in cases {
            let kept: Vec<u64> = retained(&states, &tagged, 24 * SECOND, policy).into_iter().collect();
            assert_eq!(kept, expected, "{policy:?}");
        }
    }

    #[test]
    fn a_state_is_found_by_version_tag_and_time() {
        let kept = committed(&[(2, 8), (5, 21), (6, 22)]);
        let tags = BTreeMap::from([("first".to_owned(), 2)]);
        let find = |wanted: AsOf| resolve(&wanted, &kept, &tags, 6);
        assert_eq!(find(AsOf::Version(5)), Ok(5));
        assert_eq!(find(AsOf::Tag("first".into())), Ok(2));
        assert_eq!(find(AsOf::Time(8 * SECOND)), Ok(2));
        assert_eq!(find(AsOf::Time(21 * SECOND - 1)), Ok(2));
        assert_eq!(find(AsOf::Time(i128::MAX)), Ok(6));
        let there = "there are versions 2, 5 to 6 (tags: first = 2)";
        let messages = [
            (AsOf::Version(3), format!("version 3 is not kept any more; {there}")),
            (AsOf::Version(7), format!("there is no version 7; the published one is 6; {there}")),
            (AsOf::Tag("last".into()), format!("there is no tag \"last\"; {there}")),
            (AsOf::Time(7 * SECOND), format!("a state of that time is not kept any more; {there}")),
        ];
        for (wanted, message) in messages {
            assert_eq!(find(wanted).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_long_history_is_cut_short_in_words() {
        let kept: BTreeMap<u64, i128> = (0..100).map(|n| (2 * n + 1, 0)).collect();
        let words = what_is_there(&kept, &BTreeMap::new());
        assert!(words.starts_with("are older ones and versions 161, 163"), "{words}");
        assert!(words.ends_with("199 (no tags)"), "{words}");
    }

    proptest! {
        /// Whatever comes later, a state that retention has dropped once is dropped for good, and the published one stays.
        #[test]
        fn what_was_dropped_stays_dropped(
            steps in prop::collection::vec(1..40_i128, 1..60),
            newest in 1..6_usize,
            interval in 0..50_u64,
            age in 0..200_u64,
        ) {
            let policy = policy(newest, interval, age);
            let (mut all, mut kept) = (BTreeMap::new(), BTreeMap::new());
            let mut second = 0;
            for (step, version) in steps.into_iter().zip(1_u64..) {
                second += step;
                all.insert(version, second * SECOND);
                kept.insert(version, second * SECOND);
                let stay = retained(&kept, &BTreeSet::new(), second * SECOND, policy);
                kept.retain(|version, _| stay.contains(version));
                prop_assert!(kept.contains_key(&version));
                prop_assert!(kept.len() >= newest.min(all.len()));
                let of_all = retained(&all, &BTreeSet::new(), second * SECOND, policy);
                prop_assert!(of_all.iter().all(|version| kept.contains_key(version)), "{:?} {:?}", of_all, kept);
            }
        }
    }
}
