//! Spans: runs of units cut into objects of one class.
//!
//! ```text
//!   span   class, units, objects, free count, touched, cursor      at its first unit, in the segment's record
//!          free bits, one an object                                in the segment's bits
//! ```
//!
//! Invariants, under the lock of the class's bin:
//! - `free` is the number of set free bits (while a batch is put back: at most); an object whose bit is clear is in a
//!   magazine, in the reserve, marked, or in use.
//! - Objects are handed out from the lowest bit on, so those from number `touched` on were never handed out: in a span
//!   that began as zero pages they still read as zero.

use super::segment::{ARENA, Segment, UNIT_BYTES, UNITS};
use super::{address_map, bin, corrupt};
use crate::size_class::{CLASSES, SizeClass};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

/// The class number of a unit that is no span: free, or in the reserve.
const NO_CLASS: u8 = 0;

/// What is known of a span; stands at its first unit. Other units have `back` alone.
pub(super) struct Span {
    class: AtomicU8,
    pub(super) units: AtomicU8,
    /// Units from here back to the span's first.
    back: AtomicU8,
    pub(super) listed: AtomicBool,
    zero: AtomicBool,
    pub(super) objects: AtomicU16,
    pub(super) free: AtomicU16,
    touched: AtomicU16,
    /// No free bit stands in a word before this one.
    pub(super) cursor: AtomicU16,
    pub(super) next: AtomicU32,
    pub(super) prev: AtomicU32,
}

/// `2^32 / bytes`, rounded up: multiplying by it and dropping 32 bits divides every multiple of `bytes` that fits a span.
static RECIPROCAL: [u32; CLASSES] = {
    let mut reciprocals = [0; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        reciprocals[class] = (1u64 << 32).div_ceil(SizeClass::bytes_of(class) as u64) as u32;
        class += 1;
    }
    reciprocals
};

/// A span, by its segment and first unit; one word as `number`.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) segment: &'static Segment,
    pub(super) unit: usize,
}

impl At {
    pub(super) fn span(self) -> &'static Span {
        &self.segment.spans[self.unit]
    }

    pub(super) fn number(self) -> u32 {
        self.segment.number() * UNITS as u32 + self.unit as u32
    }

    pub(super) fn by_number(number: u32) -> Self {
        Self { segment: ARENA.get(number / UNITS as u32), unit: number as usize % UNITS }
    }

    /// The span's class; that of [`NO_CLASS`], whose objects have no bytes, for units that are no span.
    pub(super) fn class(self) -> SizeClass {
        SizeClass::from_index(self.span().class.load(Relaxed) as usize)
    }

    /// Objects that the span has.
    pub(super) fn objects(self) -> usize {
        self.span().objects.load(Relaxed) as usize
    }

    /// The address of an object.
    pub(super) fn object(self, n: usize) -> *mut u8 {
        self.segment.unit_at(self.unit).wrapping_add(n * self.class().bytes())
    }

    /// Makes the units a span whose objects are all free, not in any list. The caller owns the units.
    pub(super) fn format(self, class: SizeClass, units: usize, zero: bool) {
        let (span, objects) = (self.span(), units * UNIT_BYTES / class.bytes());
        for n in 0..units {
            self.segment.spans[self.unit + n].back.store(n as u8, Relaxed);
        }
        self.set_class(class.index() as u8, units);
        span.units.store(units as u8, Relaxed);
        span.listed.store(false, Relaxed);
        span.zero.store(zero, Relaxed);
        span.objects.store(objects as u16, Relaxed);
        span.free.store(objects as u16, Relaxed);
        span.touched.store(0, Relaxed);
        span.cursor.store(0, Relaxed);
        self.segment.free.fill(self.unit, objects);
        bin::gained_span(class, objects);
    }

    /// Makes the units no span any more.
    pub(super) fn forget(self) {
        self.set_class(NO_CLASS, self.span().units.load(Relaxed) as usize);
    }

    /// Sets the class, also for who looks it up by the address of an object, which may be in any of the units.
    fn set_class(self, class: u8, units: usize) {
        self.span().class.store(class, Relaxed);
        (0..units).for_each(|n| address_map::set_class(self.segment.unit_at(self.unit + n).addr(), class));
    }

    /// Takes up to `want` free objects, lowest first; `each` also learns whether the object reads as zero.
    pub(super) fn take(self, want: usize, mut each: impl FnMut(*mut u8, bool)) -> usize {
        let span = self.span();
        let (zero, mut touched) = (span.zero.load(Relaxed), span.touched.load(Relaxed) as usize);
        let (words, mut at) = (self.objects().div_ceil(64), span.cursor.load(Relaxed) as usize);
        let (base, bytes) = (self.object(0), self.class().bytes());
        let mut taken = 0;
        while taken < want && at < words {
            let word = self.segment.free.word(self.unit, at);
            let mut bits = word.load(Relaxed);
            while bits != 0 && taken < want {
                let n = at * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                taken += 1;
                each(base.wrapping_add(n * bytes), zero && n >= touched);
                touched = touched.max(n + 1);
            }
            word.store(bits, Relaxed);
            at += usize::from(bits == 0);
        }
        span.cursor.store(at as u16, Relaxed);
        span.touched.store(touched as u16, Relaxed);
        span.free.store(span.free.load(Relaxed) - taken as u16, Relaxed);
        bin::lost_free(self.class(), taken);
        taken
    }

    /// Where its objects are.
    pub(super) fn places(self) -> Places {
        let (start, class) = (self.segment.unit_at(self.unit).addr(), self.class());
        let reciprocal = u64::from(RECIPROCAL[class.index()]);
        Places { start, bytes: class.bytes(), reciprocal, end: self.objects() * class.bytes() }
    }
}

/// Where the objects of a span are, looked up once for many of them. A unit that is no span has none: theirs have no bytes.
#[derive(Clone, Copy)]
pub(super) struct Places {
    start: usize,
    /// Of an object, and of all of them together.
    bytes: usize,
    end: usize,
    reciprocal: u64,
}

impl Places {
    /// The number of the object that starts at `ptr`; `None` if none does, here.
    #[inline(always)]
    pub(super) fn number(&self, ptr: *mut u8) -> Option<usize> {
        let offset = ptr.addr().wrapping_sub(self.start);
        if offset >= self.end {
            return None;
        }
        // If `ptr` starts no object the product is off, and so does not multiply back.
        let n = ((offset as u64 * self.reciprocal) >> 32) as usize;
        (n * self.bytes == offset).then_some(n)
    }
}

/// The span around an address, if a unit is one.
fn span_around(ptr: *mut u8) -> Option<At> {
    let segment = address_map::segment(ptr.addr())?;
    let unit = ptr.addr() / UNIT_BYTES % UNITS; // segments are aligned, so this holds whatever becomes of this one
    let first = unit.checked_sub(segment.spans[unit].back.load(Relaxed) as usize)?;
    Some(At { segment, unit: first })
}

/// An object's place: its span and its number there. `None` if no object of ours starts at this address.
pub(super) fn locate(ptr: *mut u8) -> Option<(At, usize)> {
    let at = span_around(ptr)?;
    Some((at, at.places().number(ptr)?))
}

/// As [`locate`], for an object that must be one of `class`: anything else ends the process.
pub(super) fn locate_in(class: SizeClass, ptr: *mut u8) -> (At, usize) {
    let Some((at, object)) = locate(ptr) else { corrupt("free of a pointer that is not an object", ptr, Some(class)) };
    if at.class() != class {
        corrupt("free with the wrong size", ptr, Some(class));
    }
    (at, object)
}
