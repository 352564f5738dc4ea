//! Large objects that wait for a grace period: each by itself, through its record. They need no page, so only the budget
//! can make a caller wait for one.

use super::budget;
use super::cells::{self, Cell};
use super::in_transit::InTransit;
use super::pending::{Pending, Stamped};
use crate::slab::large::{self, ByNumber};
use crate::slow_path::SlowPath;
use core::alloc::Layout;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

impl Stamped for ByNumber {
    fn stamp(&self, index: u32) -> &AtomicU64 {
        large::stamp(index)
    }
}

/// One queue for all: what these objects cost otherwise leaves its contention behind.
static PENDING: Pending = Pending::new();
/// Objects in it, and their bytes.
pub(super) static OBJECTS: AtomicU64 = AtomicU64::new(0);
pub(super) static BYTES: AtomicU64 = AtomicU64::new(0);

/// Whether the budget has room for an object of this size; one that is larger than the budget finds room when nothing else
/// waits, or it would wait for ever.
pub(crate) fn has_room(bytes: usize) -> bool {
    budget::look(&SlowPath::enter());
    budget::has_room(bytes) || budget::is_untouched()
}

/// Defers a large object, whatever the budget says. Cannot fail.
pub(super) fn defer(object: *mut u8, layout: Layout, slow: &SlowPath) {
    let number = large::defer(object, layout); // what is not ours ends here
    let Some(cell) = cells::here() else { return };
    let _in_transit = InTransit::enter(cell, slow.may_block());
    budget::charge(cell, layout.size());
    OBJECTS.fetch_add(1, Relaxed);
    BYTES.fetch_add(layout.size() as u64, Relaxed);
    PENDING.stamp_and_push(&ByNumber, number);
}

/// Gives back objects whose time has come. Calls the backing: not in atomic context.
pub(super) fn ripen(slow: &SlowPath) {
    if let Some(cell) = cells::here().filter(|_| slow.may_block()) {
        PENDING.poll(&ByNumber, usize::MAX, |number| take_back(cell, number));
    }
}

/// Gives back all of them, when whoever is at it is done.
pub(super) fn ripen_patiently() {
    if let Some(cell) = cells::here() {
        PENDING.poll_patiently(&ByNumber, |number| take_back(cell, number));
    }
}

fn take_back(cell: &Cell, number: u32) {
    let bytes = large::deferred_bytes(number);
    OBJECTS.fetch_sub(1, Relaxed);
    BYTES.fetch_sub(bytes as u64, Relaxed);
    budget::refund(cell, bytes);
    // SAFETY: taken off the queue, so ours, and its stamp says that its grace period is over.
    unsafe { large::release_deferred(number) };
}

/// The queue, for barriers and forks.
pub(super) fn pending() -> &'static Pending {
    &PENDING
}
