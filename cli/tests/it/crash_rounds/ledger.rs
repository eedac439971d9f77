//! What a client knows of its documents.

use std::collections::BTreeMap;

/// A document as the collection should hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Absent,
    /// With the text of this revision.
    Revision(u64),
}

/// The documents of one client, which writes one batch at a time.
#[derive(Debug, Default)]
pub struct Ledger {
    acknowledged: BTreeMap<String, State>,
    /// A batch without an answer: it may have happened as a whole, or not at all.
    pending: BTreeMap<String, State>,
}

/// What a document turned out not to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It was acknowledged and is gone.
    Lost { id: String, expected: State },
    /// Its deletion was acknowledged and it is there.
    Resurrected { id: String, found: State },
    /// It has the text of another revision than the acknowledged one.
    Stale { id: String, expected: State, found: State },
    /// One part of a batch happened and another did not.
    Half { ids: Vec<String> },
    /// The legs, or a leg and the table, do not hold the same.
    Mismatch { what: String },
}

impl Ledger {
    pub fn acknowledged(&self, id: &str) -> State {
        self.acknowledged.get(id).copied().unwrap_or(State::Absent)
    }

    /// Notes what a batch asks for, before it is sent.
    pub fn send(&mut self, batch: BTreeMap<String, State>) {
        self.pending = batch;
    }

    /// Notes that the batch was acknowledged.
    pub fn acknowledge(&mut self) {
        self.acknowledged.append(&mut self.pending);
    }

    /// Compares with what the collection holds, and takes that for the truth about the batch without an answer.
    pub fn settle(&mut self, found: impl Fn(&str) -> State) -> Vec<Fault> {
        let pending = std::mem::take(&mut self.pending);
        let happened = |id: &String| found(id) == pending[id] && self.acknowledged(id) != pending[id];
        let (new, old): (Vec<&String>, Vec<&String>) =
            pending.keys().filter(|id| self.acknowledged(id) != pending[*id]).partition(|id| happened(id));
        let mut faults = Vec::new();
        if !new.is_empty() && !old.is_empty() {
            faults.push(Fault::Half { ids: pending.keys().cloned().collect() });
        }
        if !new.is_empty() {
            self.acknowledged.extend(pending.clone());
        }
        let ids: Vec<String> = self.acknowledged.keys().cloned().collect();
        faults.extend(ids.into_iter().filter_map(|id| fault(self.acknowledged(&id), found(&id), id)));
        faults
    }
}

fn fault(expected: State, found: State, id: String) -> Option<Fault> {
    match (expected, found) {
        _ if expected == found => None,
        (_, State::Absent) => Some(Fault::Lost { id, expected }),
        (State::Absent, _) => Some(Fault::Resurrected { id, found }),
        _ => Some(Fault::Stale { id, expected, found }),
    }
}

#[cfg(test)]
mod tests {
    use super::State::{Absent, Revision};
    use super::*;

    fn states(states: &[(&str, State)]) -> BTreeMap<String, State> {
        states.iter().map(|(id, state)| ((*id).to_owned(), *state)).collect()
    }

    fn settle(acknowledged: &[(&str, State)], pending: &[(&str, State)], found: &[(&str, State)]) -> Vec<Fault> {
        let mut ledger = Ledger::default();
        ledger.send(states(acknowledged));
        ledger.acknowledge();
        ledger.send(states(pending));
        let found = states(found);
        let faults = ledger.settle(|id| found.get(id).copied().unwrap_or(Absent));
        if faults.is_empty() {
            assert!(
                found.iter().all(|(id, state)| ledger.acknowledged(id) == *state),
                "what was found is the truth now"
            );
        }
        faults
    }

    #[test]
    fn a_batch_without_an_answer_may_have_happened_or_not() {
        let before = [("a", Revision(1)), ("b", Revision(2))];
        let batch = [("a", Revision(3)), ("b", Absent), ("c", Absent)];
        assert_eq!(settle(&before, &batch, &before), []);
        assert_eq!(settle(&before, &batch, &[("a", Revision(3))]), []);
    }

    #[test]
    fn everything_else_is_a_fault() {
        let before = [("a", Revision(1)), ("b", Revision(2)), ("c", Absent)];
        let lost = Fault::Lost { id: "a".into(), expected: Revision(1) };
        assert_eq!(settle(&before, &[], &before[1..]), [lost]);
        let back = Fault::Resurrected { id: "c".into(), found: Revision(9) };
        assert_eq!(settle(&before, &[], &[("a", Revision(1)), ("b", Revision(2)), ("c", Revision(9))]), [back]);
        let stale = Fault::Stale { id: "b".into(), expected: Revision(2), found: Revision(1) };
        assert_eq!(settle(&before, &[], &[("a", Revision(1)), ("b", Revision(1))]), [stale]);
        let half =
            settle(&before, &[("a", Revision(3)), ("b", Revision(4))], &[("a", Revision(3)), ("b", Revision(2))]);
        assert_eq!(half[0], Fault::Half { ids: vec!["a".into(), "b".into()] });
    }
}
