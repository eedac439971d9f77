//! The knee: the most calls a second that keep the objective.

use super::offered::Row;

/// By how much the rate goes up from step to step, until one breaks the objective.
const GROWTH: f64 = 1.3;

/// Steps between the last rate that kept it and the first that broke it.
const HALVINGS: u32 = 3;

/// The share of calls that may be refused or fail at a rate that counts as borne, in thousandths.
const MOST_LOST_PER_MILLE: usize = 1;

/// A search for the knee, rate by rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Search {
    next: f64,
    kept: Option<f64>,
    broke: Option<f64>,
    halvings: u32,
}

impl Search {
    /// Begins at `from` calls a second.
    pub fn new(from: f64) -> Self {
        Self { next: from, kept: None, broke: None, halvings: 0 }
    }

    /// The rate to offer next.
    pub fn rate(&self) -> f64 {
        self.next
    }

    /// Takes what came of it. `false` when the search is over.
    pub fn learn(&mut self, kept_the_objective: bool) -> bool {
        if kept_the_objective {
            self.kept = Some(self.next);
        } else {
            self.broke = Some(self.next);
        }
        self.next = match (self.kept, self.broke) {
            (_, None) => self.next * GROWTH,
            // Not even the first rate was borne.
            (None, Some(broke)) => broke / 2.0,
            (Some(kept), Some(broke)) => {
                self.halvings += 1;
                (kept + broke) / 2.0
            }
        };
        self.halvings <= HALVINGS && self.next >= 0.1
    }
}

/// Whether a rate was borne: the slowest in a hundred kept the objective, and next to nothing was refused or failed.
pub fn is_borne(row: &Row, objective_ms: f64) -> bool {
    let lost = row.refused + row.failed;
    row.served > 0 && row.p99_ms <= objective_ms && lost * 1_000 <= row.offered * MOST_LOST_PER_MILLE
}

/// The borne row of the highest rate.
pub fn knee(rows: &[Row], objective_ms: f64) -> Option<&Row> {
    let borne = rows.iter().filter(|row| is_borne(row, objective_ms));
    borne.max_by(|one, other| one.offered_per_second.total_cmp(&other.offered_per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a service says that bears so many calls a second.
    fn row(per_second: f64, capacity: f64) -> Row {
        let is_borne = per_second <= capacity;
        Row {
            offered_per_second: per_second,
            offered: 1_000,
            served: 1_000,
            refused: 0,
            refused_without_hint: 0,
            failed: 0,
            p50_ms: 10.0,
            p95_ms: 20.0,
            p99_ms: if is_borne { 100.0 } else { 1_000.0 },
            refusal_p99_ms: 0.0,
        }
    }

    #[test]
    fn the_search_ends_near_the_knee_from_below() {
        for capacity in [3.0, 47.0, 95.0, 800.0] {
            let mut search = Search::new(10.0);
            let mut rows = Vec::new();
            loop {
                let row = row(search.rate(), capacity);
                let kept = is_borne(&row, 250.0);
                rows.push(row);
                if !search.learn(kept) {
                    break;
                }
            }
            let found = knee(&rows, 250.0).expect("found").offered_per_second;
            assert!(found <= capacity && found > capacity * 0.85, "{found} of {capacity}");
            assert!(rows.len() < 30, "{} steps", rows.len());
        }
    }

    #[test]
    fn a_service_that_bears_nothing_has_no_knee() {
        let mut search = Search::new(10.0);
        while search.learn(false) {}
        assert_eq!(knee(&[row(10.0, 0.0)], 250.0).map(|row| row.offered), None);
    }

    #[test]
    fn refusals_and_failures_break_the_objective_as_well() {
        let good = row(10.0, 20.0);
        assert!(is_borne(&good, 250.0));
        let table = [(20, 0, false), (0, 2, false), (1, 0, true)];
        for (refused, failed, expected) in table {
            let row = Row { refused, failed, served: 1_000 - refused - failed, ..good.clone() };
            assert_eq!(is_borne(&row, 250.0), expected, "{refused} refused, {failed} failed");
        }
    }
}
