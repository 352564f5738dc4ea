//! Bins: the spans of a class, behind one lock.
//!
//! ```text
//!   bin[class] --> span --> span --> span       spans with free objects, the one being emptied first;
//!                                               one that gains its first free object goes to the end
//! ```
//!
//! Invariant: a span is in its bin's list if and only if `listed`; a listed span has free objects. A wholly free span
//! gives its units back, and they may serve another class; a bin keeps its last listed one.

use super::segment::UNIT_BYTES;
use super::span::{At, Places, locate_in};
use super::{corrupt, marks, segment};
use crate::platform::lock::{Guard, Lock};
use crate::size_class::{CLASSES, LARGEST, SizeClass};
use core::sync::atomic::{AtomicI64, Ordering::Relaxed};

/// What a bin's lock guards, with the spans of its class.
struct Bin {
    head: u32,
    tail: u32,
}

#[repr(align(128))]
struct ClassBin {
    lock: Lock<Bin>,
    /// Objects in all spans of the class.
    objects: AtomicI64,
    /// Of those, the ones whose free bit is set.
    free: AtomicI64,
}

static BINS: [ClassBin; CLASSES] = [const {
    ClassBin { lock: Lock::new(Bin { head: 0, tail: 0 }), objects: AtomicI64::new(0), free: AtomicI64::new(0) }
}; CLASSES];

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
const _: () = {
    assert!(LARGEST <= UNIT_BYTES);
    // A span's bits fit the words of its first unit: those of the others, which may be marked, stay clear.
    let mut class = 1;
    while class < CLASSES {
        assert!(SPAN_UNITS[class] as usize * UNIT_BYTES / SizeClass::bytes_of(class) <= UNIT_BYTES / 16);
        class += 1;
    }
};

fn bin(class: SizeClass) -> &'static ClassBin {
    &BINS[class.index()]
}

/// Objects of a class in spans, and how many of them are free there.
pub(super) fn objects(class: SizeClass) -> (u64, u64) {
    let read = |n: &AtomicI64| n.load(Relaxed).max(0) as u64;
    (read(&bin(class).objects), read(&bin(class).free))
}

/// Counts a new span, all of whose objects are free.
pub(super) fn gained_span(class: SizeClass, objects: usize) {
    bin(class).objects.fetch_add(objects as i64, Relaxed);
    bin(class).free.fetch_add(objects as i64, Relaxed);
}

/// Counts objects that are not free any more.
pub(super) fn lost_free(class: SizeClass, objects: usize) {
    bin(class).free.fetch_sub(objects as i64, Relaxed);
}

/// Takes up to `want` objects of a class, from as many spans as it takes; fewer without memory. `each` also learns
/// whether the object reads as zero.
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
            unlist(at, &mut guard);
        }
    }
    taken
}

fn add_span(class: SizeClass, guard: &mut Guard<'_, Bin>) -> bool {
    let units = SPAN_UNITS[class.index()] as usize;
    let Some((segment, unit, zero)) = segment::take_units(units) else { return false };
    let at = At { segment, unit };
    at.format(class, units, zero);
    list(at, guard);
    true
}

/// Gives objects of a class back to their spans. Neighbours in a magazine are often neighbours in memory.
pub(super) fn put(class: SizeClass, objects: impl Iterator<Item = *mut u8>) {
    let mut guard = bin(class).lock.lock();
    let mut objects = objects.peekable();
    while let Some(ptr) = objects.next() {
        let (at, object) = locate_in(class, ptr);
        let mut run = Run::new(at);
        run.add(object);
        while let Some(object) = objects.peek().and_then(|&ptr| run.places.number(ptr)) {
            run.add(object);
            objects.next();
        }
        run.finish(&mut guard);
    }
}

/// Gives the objects back whose bits are set in one word of the span's marks.
pub(super) fn put_word(at: At, word: usize, bits: u64) {
    let mut guard = bin(at.class()).lock.lock(); // its class is stable: marked objects keep the span from dissolving
    Run { word, bits, ..Run::new(at) }.finish(&mut guard);
}

/// Frees that go to one span: its figures are written once for all of them, and the bits of a word once for those that
/// follow each other.
struct Run {
    at: At,
    places: Places,
    /// Objects of one word that are not written yet.
    word: usize,
    bits: u64,
    gained: u16,
    cursor: u16,
}

impl Run {
    fn new(at: At) -> Self {
        Self { at, places: at.places(), word: 0, bits: 0, gained: 0, cursor: u16::MAX }
    }

    #[inline(always)]
    fn add(&mut self, object: usize) {
        let (word, bit) = (object / 64, 1 << (object % 64));
        if word != self.word || self.bits & bit != 0 {
            self.write(); // also what is there twice: the second time finds the first
            self.word = word;
        }
        self.bits |= bit;
    }

    /// Sets the free bits of a word.
    fn write(&mut self) {
        let (at, word, bits) = (self.at, self.word, core::mem::take(&mut self.bits));
        if bits == 0 {
            return; // the cursor stays: nothing is free here
        }
        let free = at.segment.free.word(at.unit, word);
        let twice = bits & (free.load(Relaxed) | marks::marked(at, word));
        if twice != 0 {
            let object = word * 64 + twice.trailing_zeros() as usize;
            corrupt("double free", at.object(object), Some(at.class()));
        }
        free.store(free.load(Relaxed) | bits, Relaxed);
        self.gained += bits.count_ones() as u16;
        self.cursor = self.cursor.min(word as u16);
    }

    /// Writes the figures; a wholly free span goes unless it is its bin's last.
    fn finish(mut self, guard: &mut Guard<'_, Bin>) {
        self.write();
        let (at, span) = (self.at, self.at.span());
        let free = span.free.load(Relaxed) + self.gained;
        span.free.store(free, Relaxed);
        span.cursor.store(span.cursor.load(Relaxed).min(self.cursor), Relaxed);
        bin(at.class()).free.fetch_add(i64::from(self.gained), Relaxed);
        list(at, guard);
        if free == span.objects.load(Relaxed) && guard.head != guard.tail {
            dissolve(at, guard);
        }
    }
}

fn dissolve(at: At, guard: &mut Guard<'_, Bin>) {
    let (span, class) = (at.span(), at.class());
    unlist(at, guard);
    bin(class).objects.fetch_sub(i64::from(span.objects.load(Relaxed)), Relaxed);
    lost_free(class, at.objects());
    at.forget();
    segment::return_units(at.segment, at.unit, span.units.load(Relaxed) as usize, true);
}

/// Puts a span that has free objects at the end of its bin's list if it is not in it.
fn list(at: At, bin: &mut Guard<'_, Bin>) {
    let span = at.span();
    if span.free.load(Relaxed) == 0 || span.listed.load(Relaxed) {
        return;
    }
    let number = at.number();
    span.listed.store(true, Relaxed);
    span.next.store(0, Relaxed);
    span.prev.store(bin.tail, Relaxed);
    match bin.tail {
        0 => bin.head = number,
        tail => At::by_number(tail).span().next.store(number, Relaxed),
    }
    bin.tail = number;
}

fn unlist(at: At, bin: &mut Guard<'_, Bin>) {
    let span = at.span();
    let (prev, next) = (span.prev.load(Relaxed), span.next.load(Relaxed));
    match prev {
        0 => bin.head = next,
        prev => At::by_number(prev).span().next.store(next, Relaxed),
    }
    match next {
        0 => bin.tail = prev,
        next => At::by_number(next).span().prev.store(prev, Relaxed),
    }
    span.listed.store(false, Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab;

    #[test]
    fn a_class_is_known_in_all_units_of_its_spans_and_forgotten_with_them() {
        let class = SizeClass::from_index(CLASSES - 2); // nobody else here uses it; its spans have several units
        let mut objects = Vec::new();
        take(class, 100, |object, _| objects.push(object));
        assert!(objects.iter().all(|&object| slab::class_around(object) == Some(class)));
        put(class, objects.iter().copied());
        let known = objects.iter().filter(|&&object| slab::class_around(object) == Some(class)).count();
        assert!(known < 20, "a bin keeps one span: {known}");
    }
}
