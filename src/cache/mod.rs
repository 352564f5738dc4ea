//! Caches of objects in front of the spans: alloc and free for a class.
//!
//! ```text
//!   alloc, free            one section on this CPU's `main` slot; no call, no lock prefix
//!     exchange               main <-> spare <-> depot, one magazine at a time
//!       depot                  full and empty magazines, by CPU group
//!         slab                   spans, when the depot has none or too many
//!   bypass                 one object without the slots: they are busy, or there is no magazine
//!   remote                 other CPUs' slots: trim, CPUs that went idle
//!   upkeep                 what passing slow paths do for later callers: marks, reserve, decay
//!   aside                  magazines that nobody needs
//! ```
//!
//! Invariants:
//! - An object is in exactly one place: the caller's hands, one magazine, its span's free bits, or its mark.
//! - After every exchange of a slot the magazine in hand is classified by the count it has *now*: between the look and
//!   the exchange the slot may have been emptied and filled. EMPTY is never owned and never queued.
//! - Whoever carries a magazine serves its caller from it first, and only then looks for a place for it.

mod aside;
mod bypass;
mod counts;
mod depot;
mod exchange;
mod magazines;
mod remote;
mod short;
mod upkeep;

use crate::platform::locked::{Pop, Push};
use crate::platform::magazine::OBJECTS;
use crate::platform::memory;
use crate::platform::slots::{self, Slot};
use crate::size_class::{CLASSES, SizeClass};
use crate::slow_path::SlowPath;

pub(crate) use counts::{cached_objects, counts};
pub(crate) use magazines::{ByNumber, Hand, magazine};
pub(crate) use remote::{count_lost, reclaim, take as take_remotely};
pub(crate) use upkeep::{expect_atomic, is_atomic_expected, passing};

/// Magazines carry at most this many bytes of objects, unless that is fewer than [`FEWEST`] objects.
const MAGAZINE_PAYLOAD: usize = 64 << 10;
const FEWEST: usize = 4;

/// The slots of a cell: `main` of each class, then `spare` and `deferred` of each. The last belong to the layer above.
fn main_slot(class: SizeClass) -> Slot {
    Slot::new(class.index())
}

fn spare_slot(class: SizeClass) -> Slot {
    Slot::new(CLASSES + class.index())
}

#[inline(always)]
pub(crate) fn deferred_slot(class: SizeClass) -> Slot {
    Slot::new(2 * CLASSES + class.index())
}

const SLOTS: usize = 3 * CLASSES;

/// Objects that a magazine of this class holds.
pub(crate) fn capacity(class: SizeClass) -> u32 {
    let fitting = (MAGAZINE_PAYLOAD / class.bytes()).max(FEWEST);
    fitting.min(OBJECTS) as u32
}

/// Sets the slots up; false without memory. Never blocks.
pub(crate) fn init_slots(shards: u32, want_rseq: bool) -> bool {
    slots::init(SLOTS, shards, want_rseq)
}

/// Sets the depot up, after the slots; false without memory. Never blocks.
pub(crate) fn init() -> bool {
    depot::init()
}

/// Whether [`init`] has succeeded.
pub(crate) fn is_ready() -> bool {
    depot::depot().is_some()
}

/// The fast path: an object from this CPU's `main`, or null if that takes more.
#[inline(always)]
pub(crate) fn alloc(class: SizeClass) -> *mut u8 {
    // SAFETY: `main` slots are part of every cell.
    unsafe { slots::pop(Slot::new(class.index())) }
}

/// The fast path: into this CPU's `main`; false if that takes more.
#[inline(always)]
pub(crate) fn free(class: SizeClass, ptr: *mut u8) -> bool {
    // SAFETY: `main` slots are part of every cell.
    unsafe { slots::push(Slot::new(class.index()), ptr) }
}

/// [`alloc`] for larger alignments, and where restartable sequences are not in use.
pub(crate) fn alloc_any(class: SizeClass) -> *mut u8 {
    slots::pop_any(main_slot(class))
}

/// [`free`], likewise.
pub(crate) fn free_any(class: SizeClass, ptr: *mut u8) -> bool {
    slots::push_any(main_slot(class), ptr)
}

/// Allocates when the fast path could not; null without memory. After [`init`].
pub(crate) fn alloc_slow(class: SizeClass, slow: &SlowPath) -> *mut u8 {
    match slots::pop_locked(main_slot(class)) {
        Pop::Object(object) => object,
        Pop::Empty => exchange::refill(class, slow),
        Pop::Busy => bypass::alloc(class, slow),
    }
}

/// As [`alloc_slow`], and says whether the object reads as zero.
///
/// From a page in size on, an object comes straight from its span when none is cached, so that fresh pages are not
/// touched.
pub(crate) fn alloc_zeroed_slow(class: SizeClass, slow: &SlowPath) -> (*mut u8, bool) {
    let fresh = if class.bytes() >= memory::page_bytes() { bypass::take_fresh(class, slow) } else { None };
    fresh.unwrap_or_else(|| (alloc_slow(class, slow), false))
}

/// Frees when the fast path could not; cannot fail. After [`init`].
pub(crate) fn free_slow(class: SizeClass, ptr: *mut u8) {
    match slots::push_locked(main_slot(class), ptr) {
        Push::Done => {}
        Push::Full => exchange::overflow(class, ptr, &SlowPath::enter()),
        Push::Busy => bypass::free(class, ptr, &SlowPath::enter()),
    }
}

/// An empty magazine for objects of `class`; `None` when there is none for this caller. After [`init`].
pub(crate) fn empty(class: SizeClass, slow: &SlowPath) -> Option<Hand> {
    exchange::empty(depot::depot()?, class, slow)
}

/// Stores a magazine by what it holds. After [`init`].
pub(crate) fn store(class: SizeClass, magazine: Hand, slow: &SlowPath) {
    if let Some(depot) = depot::depot() {
        exchange::store(depot, class, magazine, slow);
    }
}

/// Stores an empty magazine. After [`init`].
pub(crate) fn put_empty(magazine: Hand) {
    if let Some(depot) = depot::depot() {
        depot.put_empty(magazine);
    }
}

/// What every slow path does for later callers. After [`init`].
pub(crate) fn upkeep(slow: &SlowPath) {
    upkeep::before(slow);
}

/// Takes every lock of this layer and the one below, in order, for fork.
pub(crate) fn lock_all() {
    crate::slab::lock_all();
    aside::lock();
    magazines::lock_all();
}

/// In the child of a fork, with the locks held: forgets what threads that are not there any more were doing.
pub(crate) fn restart() {
    slots::open_locks(SLOTS);
    crate::slab::marks::restart();
    upkeep::restart();
}

/// Leaves them again.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(crate) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    unsafe {
        magazines::unlock_all();
        aside::unlock();
        crate::slab::unlock_all();
    }
}
