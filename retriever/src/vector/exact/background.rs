//! Making sketches beside the searches.

use super::ExactVectors;
use super::basis::Basis;
use super::second::SecondMoments;
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Fewest rows that are sketched: fewer are compared as fast by their codes.
const MIN_ROWS: u64 = 16_384;
/// Rows that appear without a sketch before some are made, as a share of all: one in this many.
const UNSKETCHED: u64 = 16;

/// What the states of one collection share.
#[derive(Debug, Default)]
pub(super) struct Sketching {
    /// Of the rows that were there when it was last looked for.
    looked_for: ArcSwapOption<LookedFor>,
    running: AtomicBool,
}

/// A basis, or that there is none that would help.
#[derive(Debug)]
struct LookedFor {
    rows: u64,
    basis: Option<Arc<Basis>>,
}

impl Sketching {
    /// What new rows are to be sketched through.
    pub(super) fn basis(&self) -> Option<Arc<Basis>> {
        self.looked_for.load().as_ref().and_then(|found| found.basis.clone())
    }

    /// The directions of a collection that has doubled may be others.
    fn is_outgrown(&self, rows: u64) -> bool {
        self.looked_for.load().as_ref().is_none_or(|found| rows >= found.rows.saturating_mul(2))
    }
}

/// The right to make sketches, which one at a time has.
#[derive(Debug)]
struct Turn<'a>(&'a Sketching);

impl<'a> Turn<'a> {
    fn take(sketching: &'a Sketching) -> Option<Self> {
        (!sketching.running.swap(true, Ordering::AcqRel)).then_some(Self(sketching))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.running.store(false, Ordering::Release);
    }
}

impl ExactVectors {
    /// Whether [`make_sketches`](Self::make_sketches) would make searches faster by more than it costs.
    pub fn wants_sketches(&self) -> bool {
        let rows = self.live_rows();
        if self.moments.is_none() || rows < MIN_ROWS || self.sketching.running.load(Ordering::Acquire) {
            return false;
        }
        self.sketching.is_outgrown(rows) || self.unsketched() > rows / UNSKETCHED
    }

    /// Makes what sketches are missing, and searches of this state and those that follow faster. What they find stays the
    /// same. Takes seconds, on one core; call it off the async threads. Does nothing while another does the same.
    pub fn make_sketches(&self) {
        let (Some(_turn), Some(moments)) = (Turn::take(&self.sketching), &self.moments) else { return };
        if self.sketching.is_outgrown(self.live_rows()) {
            self.look_for_basis(moments);
        }
        let Some(basis) = self.sketching.basis() else { return };
        for segment in self.segments.iter().filter(|segment| segment.rows.lacks_sketch(&basis)) {
            segment.rows.make_sketch(&basis, self.dimension);
        }
    }

    fn look_for_basis(&self, moments: &SecondMoments) {
        let basis = Basis::of(moments, self.dimension).map(Arc::new);
        self.sketching.looked_for.store(Some(Arc::new(LookedFor { rows: self.live_rows(), basis })));
    }

    /// Live rows without a sketch through the newest basis.
    fn unsketched(&self) -> u64 {
        let Some(basis) = self.sketching.basis() else { return 0 };
        let lacking = self.segments.iter().filter(|segment| segment.rows.lacks_sketch(&basis));
        lacking.map(|segment| segment.live() as u64).sum()
    }
}
