//! The page budget: how many bytes may wait for grace periods.
//!
//! A page is charged with all that it can hold when it is put to use, and refunded when it has come back, so open pages
//! count too. Charges gather in the CPU's cell and go to the shared total a *grain* at a time; all grains together are at most
//! an eighth of the budget, which is kept back for them: pages never hold more than the budget (but for some grains, after
//! it was lowered).

use super::cells::{self, Cell};
use crate::platform::limit;
use crate::slow_path::SlowPath;
use crate::tunables;
use core::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Bytes charged and passed on by all cells, and the most there were.
static TOTAL: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);
/// What follows from the memory there is; 0 before anybody looked.
static AUTOMATIC: AtomicU64 = AtomicU64::new(0);

/// The part of the memory that may wait.
const FRACTION: usize = 8;
/// The budget while nothing is known of the memory.
const UNKNOWN: u64 = 64 << 20;
/// The most that a cell keeps to itself.
const GRAIN: i64 = 256 << 10;
/// No budget is below this: a few pages of any class must fit, or nothing would be deferred at all.
const LEAST: u64 = 1 << 20;

/// Looks how much memory there is, if that matters and nobody has: reads files, so atomic callers leave it to others.
///
/// Not at start-up, where it was most of the system calls: a program that defers nothing need not know.
pub(super) fn look(slow: &SlowPath) {
    if slow.may_block() && AUTOMATIC.load(Relaxed) == 0 && tunables::BUDGET_BYTES.load(Relaxed) == 0 {
        let fraction = (limit::memory_bytes() / FRACTION) as u64;
        AUTOMATIC.store(if fraction == 0 { UNKNOWN } else { fraction.max(LEAST) }, Relaxed);
    }
}

/// The budget in force, in bytes.
pub(crate) fn limit() -> u64 {
    match (tunables::BUDGET_BYTES.load(Relaxed), AUTOMATIC.load(Relaxed)) {
        (0, 0) => UNKNOWN,
        (0, automatic) => automatic,
        (set, _) => set.max(LEAST),
    }
}

/// The most bytes that were charged, to a grain for each cell.
pub(super) fn peak() -> u64 {
    PEAK.load(Relaxed).max(0) as u64
}

/// Whether `bytes` more fit; a hint.
pub(super) fn has_room(bytes: usize) -> bool {
    TOTAL.load(Relaxed) + bytes as i64 <= room()
}

/// What the total may come to: the rest is kept back for the grains.
fn room() -> i64 {
    let limit = limit() as i64;
    limit - limit / 8
}

/// Whether (nearly) nothing waits.
pub(super) fn is_untouched() -> bool {
    TOTAL.load(Relaxed) <= limit() as i64 / 8
}

/// Charges `bytes` if they fit.
pub(super) fn try_charge(cell: &Cell, bytes: usize) -> bool {
    pass_on(cell, bytes as i64); // first, and then look: of two who do, one at least sees both
    let total = TOTAL.load(Relaxed);
    let fits = total <= room();
    if fits {
        note_peak(total)
    } else {
        refund(cell, bytes)
    }
    fits
}

fn note_peak(total: i64) {
    if total > PEAK.load(Relaxed) {
        PEAK.fetch_max(total, Relaxed); // looked at first: mostly there is nothing to write
    }
}

/// Whether half the budget is spent: grace periods should hurry.
pub(super) fn is_pressed() -> bool {
    TOTAL.load(Relaxed) > limit() as i64 / 2
}

/// Charges `bytes`, also above the budget.
pub(super) fn charge(cell: &Cell, bytes: usize) {
    pass_on(cell, bytes as i64);
    note_peak(TOTAL.load(Relaxed));
}

/// Takes a charge back.
pub(super) fn refund(cell: &Cell, bytes: usize) {
    pass_on(cell, -(bytes as i64));
}

fn pass_on(cell: &Cell, bytes: i64) {
    let here = cell.charge.fetch_add(bytes, Relaxed) + bytes;
    let grain = (limit() as i64 / 8 / cells::all().len() as i64).min(GRAIN);
    if here.abs() >= grain {
        let here = cell.charge.swap(0, Relaxed); // all of it, also what others added meanwhile
        TOTAL.fetch_add(here, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_block_looks() {
        look(&SlowPath::enter());
        assert!(AUTOMATIC.load(Relaxed) > 0 || tunables::BUDGET_BYTES.load(Relaxed) > 0);
    }
}
