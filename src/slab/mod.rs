//! Memory for the caches: spans of objects, and large objects one by one.
//!
//! ```text
//!   bin          the spans of a class, one lock each
//!   span         objects of one class
//!   marks        frees that could not wait for that lock
//!   reserve      pre-faulted units for callers that cannot either
//!   large        records of what the backing serves directly
//!     segment      blocks from the system, cut into units; decay
//!     bits         a bit an object
//!     address_map  address to segment or record
//!       backing      jemalloc or the system allocator
//! ```
//!
//! All but `Marks::set`, `large::mark_free`, `large::defer`, `reserve::take` and `usable_size` take locks and may call the backing or
//! the kernel: their callers have raised the context count and were not in atomic context before.

mod address_map;
pub(crate) mod backing;
mod bin;
mod bits;
pub(crate) mod large;
pub(crate) mod marks;
pub(crate) mod reserve;
mod segment;
mod span;

use crate::platform::clock;
use crate::platform::fatal::fatal;
use crate::platform::magazine::Magazine;
use crate::size_class::SizeClass;
use crate::tunables;
use core::alloc::Layout;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) use segment::{SEGMENT_BYTES, UNIT_BYTES};

/// When the last decay pass began, in milliseconds.
static LAST_DECAY: AtomicU64 = AtomicU64::new(0);

/// The heap is not what it should be: one line, then abort.
#[cold]
fn corrupt(what: &str, ptr: *mut u8, class: Option<SizeClass>) -> ! {
    let layout = class.and_then(|class| Layout::from_size_align(class.bytes(), 1).ok());
    fatal(what, ptr, layout)
}

/// Fills an owned, empty magazine up to `want` objects, which are handed out from the lowest address up; returns how many
/// there are now.
pub(crate) fn fill(class: SizeClass, magazine: &Magazine, want: usize) -> usize {
    let want = want.min(magazine.capacity() as usize); // what has no room would be lost
    magazine.fill(want, |filler| {
        bin::take(class, want, |object, _| filler.put(object));
    });
    magazine.count() as usize
}

/// Takes one object, and whether it still reads as zero.
pub(crate) fn take_one(class: SizeClass) -> Option<(*mut u8, bool)> {
    let mut one = None;
    bin::take(class, 1, |object, zero| one = Some((object, zero)));
    one
}

/// Puts one object back.
pub(crate) fn put_one(class: SizeClass, ptr: *mut u8) {
    bin::put(class, core::iter::once(ptr));
}

/// Empties an owned magazine into the spans.
pub(crate) fn put_all(class: SizeClass, magazine: &Magazine) {
    bin::put(class, magazine.drain());
}

/// The bytes that may be used at an address, if an object of ours starts there that is in use, cached or marked.
pub(crate) fn usable_size(ptr: *mut u8) -> Option<usize> {
    match span::locate(ptr) {
        Some((at, object)) => (!at.segment.free.get(at.unit, object)).then(|| at.class().bytes()),
        None => large::size_of(ptr),
    }
}

/// The class of the object at an address, if it is a small one of ours; else none, or the class that has no objects. Two
/// loads; an address that starts no object is found out later, where it goes back to its span.
#[inline(always)]
pub(crate) fn class_around(ptr: *mut u8) -> Option<SizeClass> {
    Some(SizeClass::from_index(address_map::class(ptr.addr())? as usize))
}

/// The layout that an object has, small ones that of their class; `None` if no object of ours starts there.
pub(crate) fn layout_of(ptr: *mut u8) -> Option<Layout> {
    match span::locate(ptr) {
        Some((at, _)) => Layout::from_size_align(at.class().bytes(), 1).ok(),
        None => large::layout_of(ptr),
    }
}

/// Purges what has been unused for a decay period, if the last pass is that long ago. Cheap when it is not.
pub(crate) fn decay_if_due() -> bool {
    let (now, last) = (clock::now_ms(), LAST_DECAY.load(Relaxed));
    if now.wrapping_sub(last) < tunables::DECAY_MS.load(Relaxed) {
        return false;
    }
    // Relaxed: one thread per period wins; nothing else hangs on it.
    if LAST_DECAY.compare_exchange(last, now, Relaxed, Relaxed).is_err() {
        return false;
    }
    segment::decay(false);
    true
}

/// Purges all that is unused now, the backing's memory too; returns the bytes that are known.
pub(crate) fn purge() -> usize {
    backing::purge();
    segment::decay(true)
}

/// Takes every lock of this layer, in order, for fork.
pub(crate) fn lock_all() {
    bin::lock_all();
    core::mem::forget(segment::SEGMENTS.lock());
    segment::ARENA.lock();
    large::lock_all();
    address_map::lock_all();
}

/// Leaves them again.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(crate) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    unsafe {
        address_map::unlock_all();
        large::unlock_all();
        segment::ARENA.unlock();
        segment::SEGMENTS.unlock();
        bin::unlock_all();
    }
}

/// What this layer counts.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) segments: usize,
    pub(crate) units_used: usize,
    pub(crate) units_dirty: usize,
    pub(crate) large_objects: u64,
    pub(crate) large_bytes: u64,
    pub(crate) free_marks: u64,
}

/// A look at the counters, each by itself.
pub(crate) fn counts() -> Counts {
    Counts {
        segments: segment::LIVE.load(Relaxed),
        units_used: segment::UNITS_USED.load(Relaxed),
        units_dirty: segment::UNITS_DIRTY.load(Relaxed),
        large_objects: large::COUNT.load(Relaxed),
        large_bytes: large::BYTES.load(Relaxed),
        free_marks: marks::FREE.count() + large::FREE_MARKS.load(Relaxed),
    }
}

/// Objects of a class in spans, and how many of them are free there.
pub(crate) fn objects(class: SizeClass) -> (u64, u64) {
    bin::objects(class)
}
