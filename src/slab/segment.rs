//! Segments: large aligned blocks, cut into runs of units.
//!
//! The blocks are mapped from the system and not taken from the backing. Measured: for a block of 4 MiB, aligned to
//! 4 MiB, jemalloc maps two to three times as much and keeps what it maps, so that at an address-space limit freed
//! segments were of no use to anybody. Mapped ones read as zero and really go back. Only where the system has no more is
//! the backing asked, which may have kept some.
//!
//! ```text
//!   block, 4 MiB, aligned     | unit 0 | unit 1 | unit 2 | ...            | unit 127 |    32 KiB each
//!                             +-- span --+------ span ------+  free run ...
//!
//!   record, type-stable, elsewhere:
//!     units     which are free, which of those are dirty (since when), which read as zero
//!     spans     one entry a unit: class, object count, list links
//!     bits      free / free-marked / deferred, one bit an object, 2048 a unit
//! ```
//!
//! Invariants:
//! - A unit is free, or belongs to exactly one span, or is held by the decay pass.
//! - `zero` is a subset of `free`, `stale` of `dirty`, `dirty` of `free`; `dirty` and `zero` are disjoint.
//! - A record stays mapped after its block went back; its number is used again. What belongs to the stacks of marked
//!   segments survives that.
//!
//! Lock order: a class's bin, then [`SEGMENTS`], then the growth of arenas and of the address map, then the backing's
//! own.

use super::bits::Bits;
use super::span::Span;
use super::{address_map, backing, marks};
use crate::arena::{Arena, Record};
use crate::platform::lock::{Guard, Lock};
use crate::platform::memory;
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Size and alignment of a segment, in bytes.
pub(crate) const SEGMENT_BYTES: usize = 4 << 20;
/// Size and alignment of a unit, in bytes.
pub(crate) const UNIT_BYTES: usize = 32 << 10;
/// Units of a segment.
pub(crate) const UNITS: usize = SEGMENT_BYTES / UNIT_BYTES;

const LAYOUT: Layout = match Layout::from_size_align(SEGMENT_BYTES, SEGMENT_BYTES) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// How many wholly free segments stay when others go back.
const CUSHION: usize = 1;

/// Segments beyond so many ask for huge pages. In a smaller heap the rest of each 2 MiB weighs more: many spans are touched
/// at their low end only.
const SMALL_HEAP: usize = 16;

/// The state of a segment that is kept out of its memory.
pub(crate) struct Segment {
    base: AtomicPtr<u8>,
    /// The block came from the system, not from the backing.
    mapped: AtomicBool,
    number: AtomicU32,
    units: UnsafeCell<Units>,
    pub(super) spans: [Span; UNITS],
    pub(super) free: Bits,
    pub(super) free_marks: marks::OfSegment,
    pub(super) deferred_marks: marks::OfSegment,
}

// SAFETY: all zero is a segment without memory; everything is atomic but `units`, reached under the SEGMENTS lock only.
unsafe impl Record for Segment {
    const FIRST: u32 = 1;
}
// SAFETY: as above.
unsafe impl Sync for Segment {}

/// Which units are what. Guarded by [`SEGMENTS`].
#[derive(Clone, Copy)]
struct Units {
    free: u128,
    zero: u128,
    dirty: u128,
    stale: u128,
    /// Neighbours in the list of segments with free units, or the next unused record.
    next: u32,
    prev: u32,
    /// Decay passes for which the segment has been wholly free.
    idle: u32,
}

/// What the [`SEGMENTS`] lock guards, with every segment's `units`.
pub(crate) struct Segments {
    /// First and last segment with free units.
    head: u32,
    tail: u32,
    /// First unused record.
    unused: u32,
    wholly_free: usize,
}

pub(crate) static SEGMENTS: Lock<Segments> = Lock::new(Segments { head: 0, tail: 0, unused: 0, wholly_free: 0 });
pub(super) static ARENA: Arena<Segment> = Arena::new();

/// Segments that have memory now.
pub(super) static LIVE: AtomicUsize = AtomicUsize::new(0);
/// Units in spans (or the reserve) now.
pub(super) static UNITS_USED: AtomicUsize = AtomicUsize::new(0);
/// Free units whose pages are resident as far as is known.
pub(super) static UNITS_DIRTY: AtomicUsize = AtomicUsize::new(0);

impl Segment {
    /// The first byte of its block.
    pub(super) fn base(&self) -> *mut u8 {
        self.base.load(Relaxed) // Relaxed: fixed while it has spans; who knows the segment got it by an acquire
    }

    pub(super) fn number(&self) -> u32 {
        self.number.load(Relaxed)
    }

    /// The first byte of a unit.
    pub(super) fn unit_at(&self, unit: usize) -> *mut u8 {
        self.base().wrapping_add(unit * UNIT_BYTES)
    }

    fn units<'a>(&'a self, _held: &'a mut Guard<'_, Segments>) -> &'a mut Units {
        // SAFETY: the SEGMENTS lock is held, and borrowed for as long as the reference lives.
        unsafe { &mut *self.units.get() }
    }
}

/// Takes a run of `n` units; says whether all of them read as zero. `None` without memory.
pub(super) fn take_units(n: usize) -> Option<(&'static Segment, usize, bool)> {
    let mut held = SEGMENTS.lock();
    let mut at = held.head;
    while at != 0 {
        let segment = ARENA.get(at);
        if let Some(first) = first_run(segment.units(&mut held).free, n) {
            return Some(take_from(&mut held, segment, first, n));
        }
        at = segment.units(&mut held).next;
    }
    let segment = add_segment(&mut held)?;
    Some(take_from(&mut held, segment, 0, n))
}

fn take_from(
    held: &mut Guard<'_, Segments>,
    segment: &'static Segment,
    first: usize,
    n: usize,
) -> (&'static Segment, usize, bool) {
    let run = run(first, n);
    let zero = segment.units(held).zero & run == run;
    UNITS_USED.fetch_add(n, Relaxed);
    hold(held, segment, run);
    (segment, first, zero)
}

/// Takes free units out of all sets.
fn hold(held: &mut Guard<'_, Segments>, segment: &'static Segment, run: u128) {
    let units = segment.units(held);
    UNITS_DIRTY.fetch_sub((units.dirty & run).count_ones() as usize, Relaxed);
    let was_whole = units.free == u128::MAX;
    for set in [&mut units.free, &mut units.zero, &mut units.dirty, &mut units.stale] {
        *set &= !run;
    }
    let full = units.free == 0;
    held.wholly_free -= usize::from(was_whole);
    if full {
        unlink(held, segment);
    }
}

/// Gives a run of units back; `dirty` when their pages may hold data.
pub(super) fn return_units(segment: &'static Segment, first: usize, n: usize, dirty: bool) {
    let mut held = SEGMENTS.lock();
    UNITS_USED.fetch_sub(n, Relaxed);
    return_run(&mut held, segment, run(first, n), dirty);
}

fn return_run(held: &mut Guard<'_, Segments>, segment: &'static Segment, run: u128, dirty: bool) {
    let units = segment.units(held);
    debug_assert_eq!(units.free & run, 0, "units given back twice");
    let was_full = units.free == 0;
    units.free |= run;
    if dirty {
        units.dirty |= run;
        UNITS_DIRTY.fetch_add(run.count_ones() as usize, Relaxed);
    } else {
        units.zero |= run;
    }
    let whole = units.free == u128::MAX;
    units.idle = 0;
    held.wholly_free += usize::from(whole);
    if was_full {
        link_first(held, segment);
    }
}

/// The bits of `n` units from `first`.
fn run(first: usize, n: usize) -> u128 {
    (u128::MAX >> (UNITS - n)) << first
}

/// The lowest run of `n` set bits.
fn first_run(free: u128, n: usize) -> Option<usize> {
    let mut starts = free;
    for shift in 1..n {
        starts &= free >> shift; // a bit stays where this and the next `shift` bits are set
    }
    (starts != 0).then(|| starts.trailing_zeros() as usize)
}

fn add_segment(held: &mut Guard<'_, Segments>) -> Option<&'static Segment> {
    let segment = unused_record(held)?;
    if !new_block(segment) {
        retire_record(held, segment);
        return None;
    }
    *segment.units(held) = Units { free: u128::MAX, zero: u128::MAX, dirty: 0, stale: 0, next: 0, prev: 0, idle: 0 };
    held.wholly_free += 1;
    LIVE.fetch_add(1, Relaxed);
    link_last(held, segment);
    Some(segment)
}

/// Gets a block for the segment and makes it known; false without memory.
fn new_block(segment: &'static Segment) -> bool {
    let mapped = memory::map_aligned(LAYOUT);
    let base = mapped.map_or_else(|| backing::alloc(LAYOUT, true), NonNull::as_ptr);
    if base.is_null() {
        return false;
    }
    segment.mapped.store(mapped.is_some(), Relaxed);
    if mapped.is_some() && LIVE.load(Relaxed) >= SMALL_HEAP {
        // SAFETY: just mapped, whole pages.
        unsafe { memory::prefer_huge_pages(base, SEGMENT_BYTES) };
    }
    segment.base.store(base, Relaxed); // published by the release in `set_segment`
    let known = address_map::set_segment(base.addr(), Some(segment));
    if !known {
        release_block(segment, base);
    }
    known
}

/// Gives a block back that nobody uses any more.
fn release_block(segment: &Segment, base: *mut u8) {
    // SAFETY: the block came from where `mapped` says, with this layout; the callers are its last users.
    unsafe { if segment.mapped.load(Relaxed) { memory::unmap(base, LAYOUT) } else { backing::dealloc(base, LAYOUT) } }
}

fn unused_record(held: &mut Guard<'_, Segments>) -> Option<&'static Segment> {
    if held.unused != 0 {
        let segment = ARENA.get(held.unused);
        held.unused = segment.units(held).next;
        return Some(segment);
    }
    let (number, segment) = ARENA.make()?;
    segment.number.store(number, Relaxed);
    Some(segment)
}

fn retire_record(held: &mut Guard<'_, Segments>, segment: &'static Segment) {
    segment.base.store(ptr::null_mut(), Relaxed);
    segment.units(held).next = held.unused;
    held.unused = segment.number();
}

fn link_first(held: &mut Guard<'_, Segments>, segment: &'static Segment) {
    let (number, head) = (segment.number(), held.head);
    (segment.units(held).prev, segment.units(held).next) = (0, head);
    if head == 0 {
        held.tail = number
    } else {
        ARENA.get(head).units(held).prev = number
    }
    held.head = number;
}

fn link_last(held: &mut Guard<'_, Segments>, segment: &'static Segment) {
    let (number, tail) = (segment.number(), held.tail);
    (segment.units(held).prev, segment.units(held).next) = (tail, 0);
    if tail == 0 {
        held.head = number
    } else {
        ARENA.get(tail).units(held).next = number
    }
    held.tail = number;
}

fn unlink(held: &mut Guard<'_, Segments>, segment: &'static Segment) {
    let (prev, next) = (segment.units(held).prev, segment.units(held).next);
    if prev == 0 {
        held.head = next
    } else {
        ARENA.get(prev).units(held).next = next
    }
    if next == 0 { held.tail = prev } else { ARENA.get(next).units(held).prev = prev }
}

/// One decay pass: purges units that were already dirty at the last pass (all dirty ones if `at_once`), and gives back
/// segments that were wholly free then. Returns the bytes given up. The lock is not held while pages are purged.
pub(super) fn decay(at_once: bool) -> usize {
    (1..=ARENA.made()).map(|number| decay_one(ARENA.get(number), at_once)).sum()
}

fn decay_one(segment: &'static Segment, at_once: bool) -> usize {
    let mut held = SEGMENTS.lock();
    if segment.base().is_null() {
        return 0;
    }
    let dirty = segment.units(&mut held).dirty.count_ones() as usize;
    if give_back(&mut held, segment, at_once) {
        return dirty * UNIT_BYTES; // what was purged before holds no memory any more
    }
    let units = segment.units(&mut held);
    if at_once {
        units.stale = units.dirty;
    }
    let old = units.stale;
    units.stale = units.dirty & !old;
    if old == 0 {
        return 0;
    }
    hold(&mut held, segment, old);
    drop(held);
    let zero = purge_units(segment, old);
    let mut held = SEGMENTS.lock();
    // Pages that could not be purged count as clean but not as zero, or every pass would try again.
    return_run(&mut held, segment, old, false);
    segment.units(&mut held).zero &= !(old & !zero);
    zero.count_ones() as usize * UNIT_BYTES
}

/// Purges the units in `set`, run by run; returns those that read as zero now.
fn purge_units(segment: &Segment, mut set: u128) -> u128 {
    let mut zero = 0;
    while set != 0 {
        let first = set.trailing_zeros() as usize;
        let n = (set >> first).trailing_ones() as usize;
        zero |= purge_run(segment, first, n);
        set &= !run(first, n);
    }
    zero
}

/// Purges the whole pages of a run of units; returns the units that read as zero now. A page may be larger than a unit.
fn purge_run(segment: &Segment, first: usize, n: usize) -> u128 {
    let per_page = (memory::page_bytes() / UNIT_BYTES).max(1);
    let start = first.next_multiple_of(per_page);
    let end = (first + n) / per_page * per_page;
    // SAFETY: whole pages of our block, all of whose units were taken out for this; their data is dead.
    let purged = start < end && unsafe { memory::purge(segment.unit_at(start), (end - start) * UNIT_BYTES) };
    if purged { run(start, end - start) } else { 0 }
}

/// Gives the block back if it has been wholly free since the last pass and is not the cushion.
fn give_back(held: &mut Guard<'_, Segments>, segment: &'static Segment, at_once: bool) -> bool {
    let units = segment.units(held);
    let ripe = units.free == u128::MAX && (at_once || units.idle > 0);
    units.idle = units.idle.saturating_add(1);
    if !ripe || held.wholly_free <= CUSHION {
        return false;
    }
    let base = segment.base();
    UNITS_DIRTY.fetch_sub(segment.units(held).dirty.count_ones() as usize, Relaxed);
    unlink(held, segment);
    held.wholly_free -= 1;
    LIVE.fetch_sub(1, Relaxed);
    address_map::set_segment(base.addr(), None);
    retire_record(held, segment);
    segment.free.purge();
    release_block(segment, base); // wholly free, unlinked, and unknown to the map
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_run_that_fits_is_found() {
        assert_eq!(first_run(u128::MAX, 1), Some(0));
        assert_eq!(first_run(0b1101_1100, 2), Some(2));
        assert_eq!(first_run(0b1101_1100, 3), Some(2));
        assert_eq!(first_run(0b1101_1010, 3), None);
        assert_eq!(first_run(0, 1), None);
        assert_eq!(first_run(u128::MAX, UNITS), Some(0));
        assert_eq!(first_run(1 << 127, 1), Some(127));
        assert_eq!(first_run(1 << 127, 2), None);
    }

    #[test]
    fn a_run_has_its_bits() {
        assert_eq!(run(0, UNITS), u128::MAX);
        assert_eq!(run(3, 2), 0b11000);
        assert_eq!(run(127, 1), 1 << 127);
    }

    #[test]
    fn units_come_back_zero_after_decay() {
        let (segment, first, _) = take_units(3).unwrap();
        // SAFETY: three units that are ours.
        unsafe { segment.unit_at(first).write_bytes(0xaa, 3 * UNIT_BYTES) };
        return_units(segment, first, 3, true);
        assert!(!SEGMENTS.lock().head.eq(&0));
        decay(true);
        let (segment, first, zero) = take_units(3).unwrap();
        if zero {
            // SAFETY: three units that are ours.
            let bytes = unsafe { core::slice::from_raw_parts(segment.unit_at(first), 3 * UNIT_BYTES) };
            assert!(bytes.iter().all(|&b| b == 0));
        }
        return_units(segment, first, 3, true);
    }
}
