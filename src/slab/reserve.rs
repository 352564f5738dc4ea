//! Pre-faulted units for atomic callers.
//!
//! Atomic context may take no lock and make no system call, so memory for it is set aside beforehand: single units,
//! resident, on a tagged stack. Who pops one owns it, makes it a span of the class in need without any lock, and takes
//! what it wants; the span is announced *before* an object leaves, so that whoever frees one finds an ordinary span.
//!
//! ```text
//!   refill (may block)                      take (atomic context)
//!     take a unit, touch its pages            pop an entry: its unit is ours
//!     describe it in an unused entry          format it as a span, take objects, announce the rest
//!     push the entry  ------------------->    push the entry on the unused ones
//! ```

use super::segment::{self, Segment, UNIT_BYTES};
use super::span::At;
use super::{marks, segment as units};
use crate::platform::memory;
use crate::size_class::SizeClass;
use crate::tagged_stack::{Nodes, TaggedStack};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

/// The most units the reserve can hold: 32 MiB.
const ENTRIES: usize = 1024;

/// A unit in the reserve. Its fields belong to whoever took the entry off a stack.
struct Entry {
    segment: AtomicPtr<Segment>,
    unit: AtomicU32,
    link: AtomicU32,
}

static TABLE: [Entry; ENTRIES] = [const {
    Entry { segment: AtomicPtr::new(core::ptr::null_mut()), unit: AtomicU32::new(0), link: AtomicU32::new(0) }
}; ENTRIES];

struct ByNumber;

impl Nodes for ByNumber {
    fn link(&self, index: u32) -> &AtomicU32 {
        &entry(index).link
    }
}

fn entry(number: u32) -> &'static Entry {
    &TABLE[number as usize - 1]
}

static READY: TaggedStack = TaggedStack::new();
static UNUSED: TaggedStack = TaggedStack::new();
/// Entries that were ever used: the others are on no stack yet.
static MADE: AtomicU32 = AtomicU32::new(0);
/// Units ready at this moment.
static UNITS: AtomicU32 = AtomicU32::new(0);

/// Bytes ready for atomic callers.
pub(crate) fn bytes() -> usize {
    UNITS.load(Relaxed) as usize * UNIT_BYTES
}

/// Adds one unit; false without memory or room. May block. One caller at a time.
pub(crate) fn add() -> bool {
    let Some(number) = UNUSED.pop(&ByNumber).or_else(new_entry) else { return false };
    let Some((segment, unit, _)) = units::take_units(1) else {
        UNUSED.push(&ByNumber, number);
        return false;
    };
    // SAFETY: the unit is ours.
    unsafe { memory::populate(segment.unit_at(unit), UNIT_BYTES) };
    entry(number).segment.store(core::ptr::from_ref(segment).cast_mut(), Relaxed); // published by the push
    entry(number).unit.store(unit as u32, Relaxed);
    READY.push(&ByNumber, number);
    UNITS.fetch_add(1, Relaxed);
    true
}

fn new_entry() -> Option<u32> {
    let made = MADE.load(Relaxed);
    ((made as usize) < ENTRIES).then(|| {
        MADE.store(made + 1, Relaxed);
        made + 1
    })
}

/// Takes up to `want` objects of `class` out of a reserved unit; 0 when the reserve is empty. Never blocks.
///
/// The rest of the unit, if any, becomes an ordinary span of the class.
pub(crate) fn take(class: SizeClass, want: usize, mut each: impl FnMut(*mut u8)) -> usize {
    let Some(number) = READY.pop(&ByNumber) else { return 0 };
    UNITS.fetch_sub(1, Relaxed);
    // SAFETY: set in `add` to a segment that lives at least as long as its unit is taken.
    let segment = unsafe { &*entry(number).segment.load(Relaxed) };
    let at = At { segment, unit: entry(number).unit.load(Relaxed) as usize };
    UNUSED.push(&ByNumber, number);
    at.format(class, 1, false);
    let taken = at.take(want, |object, _| each(object));
    marks::announce(at);
    taken
}

/// Gives every reserved unit back; returns their bytes. May block.
pub(crate) fn drain() -> usize {
    let mut units = 0;
    while let Some(number) = READY.pop(&ByNumber) {
        UNITS.fetch_sub(1, Relaxed);
        // SAFETY: as in `take`.
        let segment = unsafe { &*entry(number).segment.load(Relaxed) };
        segment::return_units(segment, entry(number).unit.load(Relaxed) as usize, 1, true);
        UNUSED.push(&ByNumber, number);
        units += 1;
    }
    units * UNIT_BYTES
}
