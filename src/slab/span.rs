//! Spans: runs of units cut into objects of one class, and the bins that keep the spans of a class.
//!
//! ```text
//!   bin[class] --> span --> span --> span          spans with free objects, the one being emptied first
//!                   |
//!                   +-- class, units, objects, free count, touched;  free bits in the segment
//! ```
//!
//! Invariants, under the bin's lock:
//! - `free` is the number of set free bits; an object whose bit is clear is in a magazine, marked, or in use.
//! - A span is in its bin's list if and only if `listed`; a listed span has free objects.
//! - Objects are handed out from the lowest bit on, so those from number `touched` on were never handed out: in a span
//!   that began as zero pages they still read as zero.
//!
//! A wholly free span gives its units back, and they may serve another class; a bin keeps its last one.

use super::segment::{self, ARENA, Segment, UNIT_BYTES, UNITS};
use super::{address_map, corrupt};
use crate::platform::lock::{Guard, Lock};
use crate::size_class::{CLASSES, LARGEST, SizeClass};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

/// The class number of a unit that is no span: free, or in the reserve.
pub(super) const NO_CLASS: u8 = 0;

/// What is known of a span; stands at its first unit. Other units have `back` alone.
pub(super) struct Span {
    class: AtomicU8,
    units: AtomicU8,
    /// Units from here back to the span's first.
    back: AtomicU8,
    listed: AtomicBool,
    zero: AtomicBool,
    objects: AtomicU16,
    free: AtomicU16,
    touched: AtomicU16,
    /// No free bit stands in a word before this one.
    cursor: AtomicU16,
    next: AtomicU32,
    prev: AtomicU32,
}

/// What a bin's lock guards, with the spans of its class.
pub(super) struct Bin {
    head: u32,
    tail: u32,
}

/// A class's spans.
#[repr(align(128))]
pub(super) struct ClassBin {
    lock: Lock<Bin>,
    /// Objects in all spans of the class.
    pub(super) objects: AtomicI64,
    /// Of those, the ones whose free bit is set (while a batch is put back, fewer).
    pub(super) free: AtomicI64,
}

/// How many units a span of each class has: the fewest that waste at most a sixteenth at the end.
static SPAN_UNITS: [u8; CLASSES] = {
    let mut units = [0; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        let bytes = SizeClass::bytes_of(class);
        let mut n = 1;
        while n * UNIT_BYTES / bytes < 4 || n * UNIT_BYTES % bytes > n * UNIT_BYTES / 16 {
            n += 1;
        }
        units[class] = n as u8;
        class += 1;
    }
    units
};
const _: () = assert!(LARGEST <= UNIT_BYTES);

static BINS: [ClassBin; CLASSES] = [const {
    ClassBin { lock: Lock::new(Bin { head: 0, tail: 0 }), objects: AtomicI64::new(0), free: AtomicI64::new(0) }
}; CLASSES];

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

/// A class's bin.
pub(super) fn bin(class: SizeClass) -> &'static ClassBin {
    &BINS[class.index()]
}

/// A span, by its segment and first unit; one word as `number`.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) segment: &'static Segment,
    pub(super) unit: usize,
}

impl At {
    fn span(self) -> &'static Span {
        &self.segment.spans[self.unit]
    }

    fn number(self) -> u32 {
        self.segment.number() * UNITS as u32 + self.unit as u32
    }

    fn by_number(number: u32) -> Self {
        Self { segment: ARENA.get(number / UNITS as u32), unit: number as usize % UNITS }
    }

    /// The span's class; `NONE` for units that are no span.
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
        span.class.store(class.index() as u8, Relaxed);
        span.units.store(units as u8, Relaxed);
        span.listed.store(false, Relaxed);
        span.zero.store(zero, Relaxed);
        span.objects.store(objects as u16, Relaxed);
        span.free.store(objects as u16, Relaxed);
        span.touched.store(0, Relaxed);
        span.cursor.store(0, Relaxed);
        self.segment.free.fill(self.unit, objects);
        bin(class).objects.fetch_add(objects as i64, Relaxed);
        bin(class).free.fetch_add(objects as i64, Relaxed);
    }

    /// Takes up to `want` free objects, lowest first; `each` also learns whether the object reads as zero.
    pub(super) fn take(self, want: usize, mut each: impl FnMut(*mut u8, bool)) -> usize {
        let span = self.span();
        let (zero, mut touched) = (span.zero.load(Relaxed), span.touched.load(Relaxed) as usize);
        let (words, mut at) = ((span.objects.load(Relaxed) as usize).div_ceil(64), span.cursor.load(Relaxed) as usize);
        let mut taken = 0;
        while taken < want && at < words {
            let word = self.segment.free.word(self.unit, at);
            let mut bits = word.load(Relaxed);
            while bits != 0 && taken < want {
                let n = at * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                taken += 1;
                each(self.object(n), zero && n >= touched);
                touched = touched.max(n + 1);
            }
            word.store(bits, Relaxed);
            at += usize::from(bits == 0);
        }
        span.cursor.store(at as u16, Relaxed);
        span.touched.store(touched as u16, Relaxed);
        span.free.store(span.free.load(Relaxed) - taken as u16, Relaxed);
        bin(self.class()).free.fetch_sub(taken as i64, Relaxed);
        taken
    }

    /// Puts a span that has free objects into its bin's list if it is not there.
    fn list(self, bin: &mut Guard<'_, Bin>) {
        let span = self.span();
        if span.free.load(Relaxed) == 0 || span.listed.load(Relaxed) {
            return;
        }
        span.listed.store(true, Relaxed);
        let number = self.number();
        span.next.store(0, Relaxed);
        span.prev.store(bin.tail, Relaxed);
        if bin.tail == 0 {
            bin.head = number
        } else {
            At::by_number(bin.tail).span().next.store(number, Relaxed)
        }
        bin.tail = number;
    }

    fn unlist(self, bin: &mut Guard<'_, Bin>) {
        let span = self.span();
        let (prev, next) = (span.prev.load(Relaxed), span.next.load(Relaxed));
        if prev == 0 {
            bin.head = next
        } else {
            At::by_number(prev).span().next.store(next, Relaxed)
        }
        if next == 0 {
            bin.tail = prev
        } else {
            At::by_number(next).span().prev.store(prev, Relaxed)
        }
        span.listed.store(false, Relaxed);
    }

    /// Sets an object's free bit; a wholly free span goes unless it is its bin's last.
    fn put(self, bin: &mut Guard<'_, Bin>, object: usize, ptr: *mut u8) {
        if self.segment.free.set(self.unit, object) {
            corrupt("double free", ptr, Some(self.class()));
        }
        let span = self.span();
        let free = span.free.load(Relaxed) + 1;
        span.free.store(free, Relaxed);
        span.cursor.store(span.cursor.load(Relaxed).min((object / 64) as u16), Relaxed);
        self.list(bin);
        if free == span.objects.load(Relaxed) && bin.head != bin.tail {
            self.dissolve(bin);
        }
    }

    fn dissolve(self, guard: &mut Guard<'_, Bin>) {
        let (span, class) = (self.span(), self.class());
        self.unlist(guard);
        let objects = i64::from(span.objects.load(Relaxed));
        bin(class).objects.fetch_sub(objects, Relaxed);
        bin(class).free.fetch_sub(objects, Relaxed);
        span.class.store(NO_CLASS, Relaxed);
        segment::return_units(self.segment, self.unit, span.units.load(Relaxed) as usize, true);
    }

    /// The number of the object that starts at `ptr`; `None` if none does, here.
    fn object_at(self, ptr: *mut u8) -> Option<usize> {
        let (offset, class) = (ptr.addr().wrapping_sub(self.segment.unit_at(self.unit).addr()), self.class());
        if offset >= self.span().units.load(Relaxed) as usize * UNIT_BYTES {
            return None;
        }
        // If `ptr` starts no object the product is off, and so does not multiply back.
        let n = ((offset as u64 * u64::from(RECIPROCAL[class.index()])) >> 32) as usize;
        let starts = n * class.bytes() == offset && n < self.span().objects.load(Relaxed) as usize;
        (class != SizeClass::NONE && starts).then_some(n)
    }
}

/// The span around an address, if a unit is one.
fn span_around(ptr: *mut u8) -> Option<At> {
    let segment = address_map::segment(ptr.addr())?;
    let unit = (ptr.addr() - segment.base().addr()) / UNIT_BYTES;
    let first = unit.checked_sub(segment.spans[unit].back.load(Relaxed) as usize)?;
    Some(At { segment, unit: first })
}

/// An object's place: its span and its number there. `None` if no object of ours starts at this address.
pub(super) fn locate(ptr: *mut u8) -> Option<(At, usize)> {
    let at = span_around(ptr)?;
    Some((at, at.object_at(ptr)?))
}

/// As [`locate`], for an object that must be one of `class`: anything else ends the process.
pub(super) fn locate_in(class: SizeClass, ptr: *mut u8) -> (At, usize) {
    let Some((at, object)) = locate(ptr) else { corrupt("free of a pointer that is not an object", ptr, Some(class)) };
    if at.class() != class {
        corrupt("free with the wrong size", ptr, Some(class));
    }
    (at, object)
}

/// Takes up to `want` objects of a class, from as many spans as it takes; fewer without memory.
pub(super) fn take(class: SizeClass, want: usize, mut each: impl FnMut(*mut u8, bool)) -> usize {
    let mut guard = bin(class).lock.lock();
    let mut taken = 0;
    while taken < want {
        if guard.head == 0 && !add_span(class, &mut guard) {
            break;
        }
        let at = At::by_number(guard.head);
        taken += at.take(want - taken, &mut each);
        if at.span().free.load(Relaxed) == 0 {
            at.unlist(&mut guard);
        }
    }
    taken
}

fn add_span(class: SizeClass, guard: &mut Guard<'_, Bin>) -> bool {
    let units = SPAN_UNITS[class.index()] as usize;
    let Some((segment, unit, zero)) = segment::take_units(units) else { return false };
    let at = At { segment, unit };
    at.format(class, units, zero);
    at.list(guard);
    true
}

/// Gives objects of a class back to their spans.
pub(super) fn put(class: SizeClass, objects: impl Iterator<Item = *mut u8>) {
    let mut guard = bin(class).lock.lock();
    let mut count = 0;
    let mut last: Option<At> = None; // neighbours in a magazine are often neighbours in memory
    for ptr in objects {
        let same = last.and_then(|at| Some((at, at.object_at(ptr)?))).filter(|(at, _)| at.class() == class);
        let (at, object) = same.unwrap_or_else(|| locate_in(class, ptr));
        last = Some(at);
        if at.segment.free_marks.get(at.unit, object) {
            corrupt("double free", ptr, Some(class));
        }
        at.put(&mut guard, object, ptr);
        count += 1;
    }
    bin(class).free.fetch_add(count, Relaxed);
}

/// Gives the objects back whose bits are set in one word of the span's marks.
pub(super) fn put_word(at: At, word: usize, mut bits: u64) {
    let class = at.class(); // stable: marked objects keep their span from dissolving
    let mut guard = bin(class).lock.lock();
    bin(class).free.fetch_add(i64::from(bits.count_ones()), Relaxed);
    while bits != 0 {
        let object = word * 64 + bits.trailing_zeros() as usize;
        bits &= bits - 1;
        at.put(&mut guard, object, at.object(object));
    }
}

/// Takes every bin's lock, for fork.
pub(super) fn lock_all() {
    BINS.iter().for_each(|bin| core::mem::forget(bin.lock.lock()));
}

/// Leaves them again.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(super) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    BINS.iter().for_each(|bin| unsafe { bin.lock.unlock() });
}
