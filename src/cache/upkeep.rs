//! What passing slow paths do for later callers: apply marks, fill the reserve, let unused memory decay.
//!
//! Atomic callers take from the reserve and set marks; they never fill or apply. The next caller that may block does,
//! one at a time, and only looks at a few words when there is nothing to do.

use super::aside;
use super::depot::{Depot, depot};
use super::magazines::Hand;
use super::remote;
use crate::platform::clock;
use crate::slab;
use crate::slow_path::SlowPath;
use crate::tunables;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Atomic callers are to be expected: somebody has opened a section, or was in atomic context without one. Until then
/// the reserve is units set aside, without their pages and without magazines, which most programs never need.
static EXPECTED: AtomicBool = AtomicBool::new(false);
/// Someone is filling the reserve.
static REFILLING: AtomicBool = AtomicBool::new(false);
/// No refill before this time (milliseconds): the last one found no memory.
static NOT_BEFORE: AtomicU64 = AtomicU64::new(0);
/// How long a refill that found no memory holds the next one off.
const BACK_OFF_MS: u64 = 100;

/// In so many exchanges on a CPU one asks whether a decay period is over: a look at the clock is not free.
const EXCHANGES: u64 = 16;

/// At the start of every exchange: what cannot wait.
pub(super) fn before(slow: &SlowPath) {
    let nth = remote::note_active();
    if slow.may_block() {
        if slab::marks::pending() {
            slab::marks::apply();
        }
        refill_if_low();
        if nth.is_multiple_of(EXCHANGES) {
            decay(slow);
        }
    } else if !is_atomic_expected() {
        EXPECTED.store(true, Relaxed);
    }
}

/// Whether atomic callers are expected already.
#[inline(always)]
pub(crate) fn is_atomic_expected() -> bool {
    EXPECTED.load(Relaxed)
}

/// From now on the reserve is resident: what there is of it at once if the caller may block, the rest with the next who may.
pub(crate) fn expect_atomic(slow: &SlowPath) {
    EXPECTED.store(true, Relaxed);
    if let Some(depot) = depot().filter(|_| slow.may_block()) {
        alone(|| {
            complete(depot);
        });
    }
}

/// Also on the rarer paths that reach the spans or the backing: decay, if a period is over.
pub(crate) fn decay(slow: &SlowPath) {
    if slow.may_block() && slab::decay_if_due() {
        remote::reclaim_idle();
        depot().into_iter().for_each(aside::decay);
    }
}

/// For slow paths of the layer above, which may come before `init`: everything that is due.
pub(crate) fn passing(slow: &SlowPath) {
    if depot().is_some() {
        before(slow);
        decay(slow);
    }
}

/// Looks at the own shard only: on a large machine a look at all of them would cost more than the slow path.
fn reserve_is_low() -> bool {
    slab::reserve::bytes() < tunables::RESERVE_BYTES.load(Relaxed)
        || is_atomic_expected() && (slab::reserve::is_aside() || depot().is_some_and(Depot::is_in_want))
}

fn refill_if_low() {
    if !reserve_is_low() {
        return;
    }
    alone(|| {
        let now = clock::now_ms();
        if now >= NOT_BEFORE.load(Relaxed) && !refill() {
            NOT_BEFORE.store(now + BACK_OFF_MS, Relaxed);
        }
    });
}

/// Does something to the reserve, unless somebody else does.
fn alone(work: impl FnOnce()) {
    // Acquire and Release: one refill after the other sees what the last one made.
    if !REFILLING.swap(true, Acquire) {
        work();
        REFILLING.store(false, Release);
    }
}

/// In the child of a fork: who was filling the reserve is not there any more.
pub(super) fn restart() {
    REFILLING.store(false, Release);
}

/// Fills the reserve; false when memory ran out.
fn refill() -> bool {
    let Some(depot) = depot() else { return false };
    let expected = is_atomic_expected();
    if expected && !complete(depot) {
        return false;
    }
    while slab::reserve::bytes() < tunables::RESERVE_BYTES.load(Relaxed) {
        if !slab::reserve::add(expected) {
            return false;
        }
    }
    true
}

/// Gives the reserve what it does without until atomic callers are expected; false when memory ran out.
fn complete(depot: &Depot) -> bool {
    slab::reserve::make_resident();
    while let Some(cell) = depot.cell_in_want() {
        // What other shards have too much of first: magazines travel to where they are emptied.
        let Some(magazine) = depot.take_empty(false).or_else(aside::take).or_else(Hand::make) else { return false };
        magazine.set_home(cell);
        depot.put_empty(magazine);
    }
    true
}
