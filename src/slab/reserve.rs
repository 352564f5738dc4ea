//! Pre-faulted units for atomic callers.
//!
//! Atomic context may take no lock and make no system call, so memory for it is set aside beforehand: single units on
//! tagged stacks, resident from the moment that atomic callers are expected. Who pops one owns it and makes it a span of
//! the class in need, all of whose objects count as handed out (to the reserve). What the caller does not take stays *open*
//! for the next caller of that class.
//!
//! ```text
//!   refill (may block)          take (atomic context)
//!     a unit --> ASIDE            an open unit of the class, else a ready one, else one aside, formatted
//!       its pages |  touched      objects from `next` on
//!             READY ----------->  OPEN[class] <-- if any are left;  else the entry is UNUSED
//!   close (may block)
//!     OPEN[class] --> the objects left are put back like any others
//! ```
//!
//! Invariant: an entry is on one stack, or in the hands of who popped it; so are the objects from `next` on, whose free
//! bits are clear. Who frees one of the others finds an ordinary span.

use super::bin;
use super::segment::{self, Segment, UNIT_BYTES};
use super::span::At;
use crate::platform::memory;
use crate::size_class::{CLASSES, SizeClass};
use crate::tagged_stack::{Nodes, TaggedStack};
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

/// The most units the reserve can hold: 32 MiB.
const ENTRIES: usize = 1024;

/// A unit of the reserve. Its fields belong to whoever took the entry off a stack.
struct Entry {
    segment: AtomicPtr<Segment>,
    unit: AtomicU32,
    /// The first object that was not handed out, once the unit is open.
    next: AtomicU32,
    link: AtomicU32,
}

static TABLE: [Entry; ENTRIES] = [const {
    Entry {
        segment: AtomicPtr::new(core::ptr::null_mut()),
        unit: AtomicU32::new(0),
        next: AtomicU32::new(0),
        link: AtomicU32::new(0),
    }
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

impl Entry {
    fn at(&self) -> At {
        // SAFETY: set in `add` to a segment of the arena, which is type-stable.
        let segment = unsafe { &*self.segment.load(Relaxed) };
        At { segment, unit: self.unit.load(Relaxed) as usize }
    }
}

static READY: TaggedStack = TaggedStack::new();
/// As good, but that their pages are not there yet.
static ASIDE: TaggedStack = TaggedStack::new();
static OPEN: [TaggedStack; CLASSES] = [const { TaggedStack::new() }; CLASSES];
static UNUSED: TaggedStack = TaggedStack::new();
/// Entries that were ever used: the others are on no stack yet.
static MADE: AtomicU32 = AtomicU32::new(0);
/// Units ready, and objects of each class left in open ones, at this moment.
static UNITS: AtomicU32 = AtomicU32::new(0);
static LEFT: [AtomicU32; CLASSES] = [const { AtomicU32::new(0) }; CLASSES];

/// Bytes ready for atomic callers of any class.
pub(crate) fn bytes() -> usize {
    UNITS.load(Relaxed) as usize * UNIT_BYTES
}

/// Objects of a class left in open units.
pub(crate) fn left(class: SizeClass) -> u32 {
    LEFT[class.index()].load(Relaxed)
}

/// Adds one unit, with `resident` its pages too; false without memory or room. May block. One caller at a time.
pub(crate) fn add(resident: bool) -> bool {
    let Some(number) = UNUSED.pop(&ByNumber).or_else(new_entry) else { return false };
    let Some((segment, unit, _)) = segment::take_units(1) else {
        UNUSED.push(&ByNumber, number);
        return false;
    };
    entry(number).segment.store(core::ptr::from_ref(segment).cast_mut(), Relaxed); // published by the push
    entry(number).unit.store(unit as u32, Relaxed);
    UNITS.fetch_add(1, Relaxed); // before the push: high for a moment, never below zero
    if resident {
        make_ready(number)
    } else {
        ASIDE.push(&ByNumber, number)
    }
    true
}

/// Whether some unit is not resident.
pub(crate) fn is_aside() -> bool {
    !ASIDE.is_empty()
}

/// Makes every unit that was set aside resident, one after the other: only one at a time is out of atomic callers' reach.
pub(crate) fn make_resident() {
    while let Some(number) = ASIDE.pop(&ByNumber) {
        make_ready(number);
    }
}

fn make_ready(number: u32) {
    let at = entry(number).at();
    // SAFETY: the entry is in this thread's hands, and so is the unit.
    unsafe { memory::populate(at.segment.unit_at(at.unit), UNIT_BYTES) };
    READY.push(&ByNumber, number);
}

fn new_entry() -> Option<u32> {
    let made = MADE.load(Relaxed);
    ((made as usize) < ENTRIES).then(|| {
        MADE.store(made + 1, Relaxed);
        made + 1
    })
}

/// Takes up to `want` objects of `class`; 0 when the reserve is empty. Never blocks.
pub(crate) fn take(class: SizeClass, want: usize, mut each: impl FnMut(*mut u8)) -> usize {
    let Some(number) = OPEN[class.index()].pop(&ByNumber).or_else(|| open(class)) else { return 0 };
    let (at, next) = (entry(number).at(), entry(number).next.load(Relaxed) as usize);
    let taken = want.min(at.objects() - next);
    (next..next + taken).for_each(|n| each(at.object(n)));
    entry(number).next.store((next + taken) as u32, Relaxed);
    LEFT[class.index()].fetch_sub(taken as u32, Relaxed);
    let stack = if next + taken < at.objects() { &OPEN[class.index()] } else { &UNUSED };
    stack.push(&ByNumber, number);
    taken
}

/// Makes a ready unit one of `class`.
fn open(class: SizeClass) -> Option<u32> {
    let number = READY.pop(&ByNumber).or_else(|| ASIDE.pop(&ByNumber))?;
    UNITS.fetch_sub(1, Relaxed);
    let at = entry(number).at();
    at.format(class, 1, false);
    at.take(usize::MAX, |_, _| {}); // the reserve has them all
    entry(number).next.store(0, Relaxed);
    LEFT[class.index()].fetch_add(at.objects() as u32, Relaxed);
    Some(number)
}

/// Puts the objects left in open units back into their spans. Takes locks: not in atomic context.
pub(crate) fn close(class: SizeClass) {
    while let Some(number) = OPEN[class.index()].pop(&ByNumber) {
        let (at, next) = (entry(number).at(), entry(number).next.load(Relaxed) as usize);
        LEFT[class.index()].fetch_sub((at.objects() - next) as u32, Relaxed);
        bin::put(class, (next..at.objects()).map(|n| at.object(n)));
        UNUSED.push(&ByNumber, number);
    }
}
