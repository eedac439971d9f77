//! Labels whose values come from elsewhere, and stay few all the same.

use std::{
    collections::HashSet,
    sync::{PoisonError, RwLock},
};

use opentelemetry::StringValue;

/// Stands for every value that there is no room for.
const OTHER: &str = "_OTHER";

/// The values of one label: the first that were seen, up to a number, and `_OTHER` for the rest.
#[derive(Debug)]
pub(super) struct Bounded {
    most: usize,
    known: RwLock<HashSet<String>>,
}

impl Bounded {
    /// Room for `most` values.
    pub fn new(most: usize) -> Self {
        Self { most, known: RwLock::default() }
    }

    /// The value itself, or the one that stands for the rest.
    pub fn of(&self, value: &str) -> StringValue {
        if self.known.read().unwrap_or_else(PoisonError::into_inner).contains(value) {
            return value.to_owned().into();
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= self.most && !known.contains(value) {
            return OTHER.into();
        }
        known.insert(value.to_owned());
        value.to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_has_one_name() {
        let labels = Bounded::new(3);
        let seen: HashSet<String> = (0..1_000).map(|number| labels.of(&number.to_string()).to_string()).collect();
        let expected = ["0", "1", "2", OTHER].map(str::to_owned);
        assert_eq!(seen, HashSet::from(expected));
        assert_eq!(labels.of("1").as_str(), "1", "what has a place keeps it");
    }
}
