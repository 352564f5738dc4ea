//! Records of readers: one in each cell, and one that is nobody's.
//!
//! ```text
//!   enter, leave        the fast paths: one section on this CPU's record, or nothing
//!   *_shared            a shard's record, or nobody's: atomic additions
//!   open                gives the cells' records a parity
//!   flip, remaining     for a grace period, over all records
//! ```
//!
//! The record in a cell is closed at first. Nobody's is always open: readers count there before there are cells, while these are
//! closed, and on threads without a CPU number, whose cells outside stay closed for ever. So counting in never fails, and a
//! program without readers of this kind has nothing but nobody's record to flip.
//!
//! Invariant: open records and nobody's show the same parity, but while the one driver of grace periods flips.

use super::reader_counts::{self, Counts, Parity};
use super::region::{self, CELL_BYTES, Mode, NO_SLOTS, RECORD};
use super::{delay, membarrier, rseq, slots, sync};
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Relaxed, SeqCst},
};

/// Nobody's.
static SHARED: Counts = Counts::new(Parity::FIRST);
/// The records in cells are open, or about to be.
static OPEN: AtomicBool = AtomicBool::new(false);

const _: () =
    assert!(RECORD + size_of::<Counts>() <= CELL_BYTES - NO_SLOTS * 8 && RECORD.is_multiple_of(align_of::<Counts>()));

/// Counts a reader in, on this CPU; `None` if that takes [`enter_shared`].
#[inline(always)]
pub(crate) fn enter() -> Option<Parity> {
    // SAFETY: the access is to the records of the region.
    Parity::from_bytes(unsafe { rseq::enter(access()?) })
}

/// Counts a reader out, on this CPU; false if that takes [`leave_shared`].
#[inline(always)]
pub(crate) fn leave(parity: Parity) -> bool {
    // SAFETY: the access is to the records of the region.
    access().is_some_and(|access| unsafe { rseq::leave(access, parity.bytes()) })
}

#[inline(always)]
fn access() -> Option<rseq::Access> {
    slots::access_at(0) // the sections add RECORD
}

/// Counts a reader in where [`enter`] could not. Never blocks.
pub(crate) fn enter_shared() -> Parity {
    loop {
        if let Some(parity) = shared().enter().or_else(|| SHARED.enter()) {
            return parity;
        }
    }
}

/// Counts a reader out where [`leave`] could not.
pub(crate) fn leave_shared(parity: Parity) {
    shared().leave(parity);
}

/// The record for who may not use a CPU's: its shard's, or nobody's.
fn shared() -> &'static Counts {
    if region::mode() == Some(Mode::Locked) { record(slots::cell()) } else { &SHARED }
}

fn record(cell: u32) -> &'static Counts {
    // SAFETY: every cell has a record there, of which all bytes may be zero, and is never unmapped.
    unsafe { &*region::at(cell, RECORD).cast() }
}

fn all() -> impl Iterator<Item = &'static Counts> + Clone {
    (0..region::cells()).map(record).chain([&SHARED])
}

fn is_open() -> bool {
    OPEN.load(Relaxed)
}

/// Whether there are records in cells, all of them closed.
pub(crate) fn is_closed() -> bool {
    region::cells() != 0 && !is_open()
}

/// Opens the records in cells, if there are any. Only for the driver of grace periods. Makes a system call.
///
/// Who enters there comes after a full fence on its CPU, as who comes under a new parity does; see `grace::readers`.
pub(crate) fn open() {
    if is_closed() && fence_everywhere() {
        OPEN.store(true, Relaxed);
        show(parity());
    }
}

/// The parity of who comes now.
fn parity() -> Parity {
    SHARED.parity().unwrap_or(Parity::FIRST)
}

/// Stores a parity in nobody's record, and in those of the cells if they are open.
fn show(parity: Parity) {
    let cells = if is_open() { region::cells() } else { 0 };
    (0..cells).map(record).chain([&SHARED]).for_each(|record| {
        delay::point();
        record.flip(parity);
    });
}

/// From now on readers come under the other parity; returns the one that ends. Only for the driver.
pub(crate) fn flip() -> Parity {
    let old = parity();
    show(old.other());
    old
}

/// How many readers are left under a parity that has ended.
pub(crate) fn remaining(parity: Parity) -> u64 {
    reader_counts::remaining(all(), parity)
}

/// Has every thread do in order what readers without a fence leave to the machine; false when the kernel refuses. See
/// [`order_all`](membarrier::order_all).
pub(crate) fn fence() -> bool {
    sync::fence(SeqCst); // where records are shared this is the driver's; see `reader_counts`
    !is_open() || region::mode() != Some(Mode::Rseq) || membarrier::order_all()
}

/// [`fence`], and whoever was counting in and had looked at the parity before has added to it, or looks again.
pub(crate) fn settle() -> bool {
    (!is_open() || slots::settle()) && fence()
}

/// A full fence on every thread; false when the kernel refuses.
fn fence_everywhere() -> bool {
    sync::fence(SeqCst);
    region::mode() != Some(Mode::Rseq) || membarrier::fence_all()
}

/// Notes one more, or one fewer, of the guards that may move between threads.
pub(crate) fn note_owned(more: bool) {
    let record = if region::cells() == 0 { &SHARED } else { record(slots::cell()) };
    record.note_owned(more);
}

/// Whether there are such guards, as far as can be seen.
pub(crate) fn has_owned() -> bool {
    all().fold(0u64, |sum, record| sum.wrapping_add(record.owned())) != 0
}

/// In the child of a fork: only this thread is left, inside a reader or not. What it reads under from now on is the parity
/// returned.
pub(crate) fn restart(inside: bool) -> Parity {
    let parity = parity();
    all().for_each(Counts::reset);
    show(parity); // a flip, or opening, may have been half done
    if inside {
        SHARED.enter();
    }
    parity
}
