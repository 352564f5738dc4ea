//! Marks: how `dealloc` and `deferred_free` cannot fail where they may neither take a lock nor find room in a magazine.
//!
//! The caller sets the object's bit and makes sure the segment is on a stack; the next slow path that may take locks
//! pops segments from it and takes the marked objects. There are two sets: [`FREE`], whose objects go back to their spans,
//! and [`DEFERRED`], whose objects go into pages that wait for a grace period of their own.
//!
//! ```text
//!   set                                      apply
//!     set the object's bit                     pop the segment
//!     set the span's bit in `spans`            listed = false
//!     listed.swap(true) == false?              take `spans`
//!       push the segment                       for each span there: take its bits, hand out those objects
//! ```
//!
//! No mark is missed. If `apply` takes the bits before the mark sets its own, then by the release in the taking and the
//! acquire in the setting the marker sees `listed == false` or a later push, and pushes the segment (again). If it takes
//! them after, it has the mark. `listed` is cleared *first*: cleared last, a mark set in between would find the segment
//! listed, not push it, and never be looked at.
//!
//! A marked object is not free: its span cannot dissolve and its segment cannot go, so both stay valid in between.

use super::bin;
use super::bits::Bits;
use super::segment::{self, Segment, UNITS};
use super::span::{self, At};
use super::{corrupt, large};
use crate::size_class::SizeClass;
use crate::tagged_stack::{Nodes, TaggedStack};
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Relaxed, Release},
};

/// A segment's part of a set.
pub(super) struct OfSegment {
    link: AtomicU32,
    /// The segment is on the stack.
    listed: AtomicBool,
    /// Spans (by first unit) that have marks.
    spans: [AtomicU64; UNITS / 64],
    objects: Bits,
}

/// A set of marked objects.
pub(crate) struct Marks {
    segments: TaggedStack,
    of: fn(&Segment) -> &OfSegment,
    /// Marks set so far, marks taken, and the bytes of the objects between the two.
    set: AtomicU64,
    taken: AtomicU64,
    bytes: AtomicU64,
}

/// Objects that are free as soon as somebody can take the lock of their span.
pub(crate) static FREE: Marks = Marks::new(|segment| &segment.free_marks);
/// Objects that are free once a grace period has passed.
pub(crate) static DEFERRED: Marks = Marks::new(|segment| &segment.deferred_marks);

impl Nodes for Marks {
    fn link(&self, index: u32) -> &AtomicU32 {
        &(self.of)(segment::ARENA.get(index)).link
    }
}

impl OfSegment {
    /// The marks of a word of objects. A hint where marks are being set: the span is looked at first, because the bits
    /// themselves are far from everything else.
    fn word(&self, unit: usize, n: usize) -> u64 {
        let any = self.spans[unit / 64].load(Relaxed) >> (unit % 64) & 1 != 0;
        if any { self.objects.word(unit, n).load(Relaxed) } else { 0 }
    }
}

/// The objects of a word that are in either set; a hint where marks are being set.
pub(super) fn marked(at: At, n: usize) -> u64 {
    at.segment.free_marks.word(at.unit, n) | at.segment.deferred_marks.word(at.unit, n)
}

impl Marks {
    const fn new(of: fn(&Segment) -> &OfSegment) -> Self {
        Self {
            segments: TaggedStack::new(),
            of,
            set: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Marks an object of `class`. Never blocks, cannot fail.
    pub(crate) fn set(&self, class: SizeClass, ptr: *mut u8) {
        let (at, object) = span::locate_in(class, ptr);
        let marks = (self.of)(at.segment);
        self.set.fetch_add(1, Relaxed); // before the mark: somebody may take it at once
        self.bytes.fetch_add(class.bytes() as u64, Relaxed);
        // The free bit first: once the mark is set, an `apply` elsewhere may set it at any time.
        if at.segment.free.get(at.unit, object) || marks.objects.set_shared(at.unit, object) {
            corrupt("double free", ptr, Some(class));
        }
        self.note(at);
    }

    /// Makes sure that the marks of a span are looked at.
    fn note(&self, at: At) {
        let marks = (self.of)(at.segment);
        // AcqRel, twice: pairs with `apply`; see the module's argument.
        marks.spans[at.unit / 64].fetch_or(1 << (at.unit % 64), AcqRel);
        if !marks.listed.swap(true, AcqRel) {
            self.segments.push(self, at.segment.number());
        }
    }

    /// Whether there is anything to apply.
    pub(crate) fn is_pending(&self) -> bool {
        !self.segments.is_empty()
    }

    /// Marks set so far.
    pub(crate) fn count(&self) -> u64 {
        self.set.load(Relaxed)
    }

    /// Marked objects that nobody has taken yet, and their bytes.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        (self.count().saturating_sub(self.taken.load(Relaxed)), self.bytes.load(Relaxed))
    }

    /// Takes the marks of all segments that are listed now, a word of objects at a time. `each` returns those of the
    /// word that it could not take: they stay marked, and what is not looked at yet stays listed. Returns whether
    /// everything was taken.
    fn apply(&self, mut each: impl FnMut(At, usize, u64) -> u64) -> bool {
        while let Some(number) = self.segments.pop(self) {
            let segment = segment::ARENA.get(number);
            // Before the bits are taken, and only by who has popped it: twice on the stack, it would close a circle.
            (self.of)(segment).listed.store(false, Release);
            if !self.apply_segment(segment, &mut each) {
                return false;
            }
        }
        true
    }

    fn apply_segment(&self, segment: &'static Segment, each: &mut impl FnMut(At, usize, u64) -> u64) -> bool {
        let marks = (self.of)(segment);
        let mut all = true;
        for (at, word) in marks.spans.iter().enumerate() {
            let mut spans = word.swap(0, AcqRel);
            while spans != 0 {
                let unit = at * 64 + spans.trailing_zeros() as usize;
                spans &= spans - 1;
                let at = At { segment, unit };
                all = all && self.apply_span(at, each);
                if !all {
                    self.note(at);
                }
            }
        }
        all
    }

    fn apply_span(&self, at: At, each: &mut impl FnMut(At, usize, u64) -> u64) -> bool {
        (0..at.objects().div_ceil(64)).all(|n| {
            let word = (self.of)(at.segment).objects.word(at.unit, n);
            let bits = word.swap(0, AcqRel);
            let bytes = if bits == 0 { 0 } else { at.class().bytes() as u64 }; // marked objects keep it from changing
            let left = if bits == 0 { 0 } else { each(at, n, bits) };
            let taken = u64::from((bits & !left).count_ones());
            self.taken.fetch_add(taken, Relaxed);
            self.bytes.fetch_sub(taken * bytes, Relaxed);
            if left != 0 {
                word.fetch_or(left, AcqRel);
            }
            left == 0
        })
    }

    /// In the child of a fork, where no other thread runs: lists every segment that has marks, whoever was about to list
    /// or apply it.
    fn restart(&self) {
        while self.segments.pop(self).is_some() {}
        for number in 1..=segment::ARENA.made() {
            let marks = (self.of)(segment::ARENA.get(number));
            let marked = marks.spans.iter().any(|word| word.load(Relaxed) != 0);
            marks.listed.store(marked, Relaxed);
            if marked {
                self.segments.push(self, number);
            }
        }
    }
}

/// In the child of a fork: see [`Marks::restart`].
pub(crate) fn restart() {
    FREE.restart();
    DEFERRED.restart();
}

/// Whether there are free marks to apply.
pub(crate) fn pending() -> bool {
    FREE.is_pending() || large::marks_pending()
}

/// Gives all objects with a free mark back. Takes locks: not in atomic context.
pub(crate) fn apply() {
    FREE.apply(|at, word, bits| {
        bin::put_word(at, word, bits);
        0
    });
    large::apply_marks();
}

/// Hands out the objects with a deferred mark, as long as `each` takes them: those in listed segments, or in all, where
/// somebody may be about to list one (and leaves them listed). Returns whether it took all. One caller at a time.
pub(crate) fn take_deferred(everywhere: bool, mut each: impl FnMut(SizeClass, *mut u8) -> bool) -> bool {
    let mut word_by_word = |at: At, word: usize, mut bits: u64| {
        while bits != 0 && each(at.class(), at.object(word * 64 + bits.trailing_zeros() as usize)) {
            bits &= bits - 1;
        }
        bits
    };
    if !everywhere {
        return DEFERRED.apply(word_by_word);
    }
    (1..=segment::ARENA.made()).all(|n| DEFERRED.apply_segment(segment::ARENA.get(n), &mut word_by_word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering::Acquire};
    use std::alloc::Layout;
    use std::time::Duration;

    /// A class that no other test of this process uses.
    fn class() -> SizeClass {
        SizeClass::of(Layout::new::<[u64; 26]>()).unwrap()
    }

    /// Rounds asked to pause for, paused for, and over.
    #[derive(Default)]
    struct Rounds {
        asked: AtomicU32,
        paused: AtomicU32,
        over: AtomicU32,
    }

    impl Rounds {
        /// Applies marks all the time, but not while a round is being looked at.
        fn apply(&self, last: u32) {
            while self.over.load(Acquire) < last {
                let asked = self.asked.load(Acquire);
                self.paused.store(asked, Release);
                if asked == self.over.load(Acquire) {
                    apply();
                }
            }
        }

        /// Marks objects meanwhile; then one more application must find the last of them. It is asked for again, because
        /// another test may have taken some and not be done: a mark that was missed stays missed.
        fn mark(&self, round: u32) {
            let taken: Vec<_> = (0..1 + round % 40).map(|_| super::super::take_one(class()).unwrap().0).collect();
            taken.iter().for_each(|&object| FREE.set(class(), object));
            self.asked.store(round, Release);
            while self.paused.load(Acquire) < round {
                std::thread::yield_now();
            }
            let came_back = (0..10_000).any(|n| {
                std::thread::sleep(Duration::from_millis(u64::from(n > 0)));
                apply();
                let (objects, free) = super::super::objects(class());
                objects == free
            });
            self.over.store(if came_back { round } else { u32::MAX }, Release);
            assert!(came_back, "round {round}: a marked object did not come back");
        }
    }

    /// A barrier takes marks without popping their segment: marked again, it must not be listed twice, in a circle.
    #[test]
    fn a_segment_on_the_stack_stays_listed() {
        let class = SizeClass::of(Layout::new::<[u64; 30]>()).unwrap(); // this test's alone
        let mut taken = Vec::new();
        for everywhere in [true, false].repeat(10) {
            let (object, _) = super::super::take_one(class).unwrap();
            DEFERRED.set(class, object);
            take_deferred(everywhere, |_, object| {
                taken.push(object);
                true
            });
            let segment = span::locate(object).unwrap().0.segment;
            let listed = segment.deferred_marks.listed.load(Relaxed);
            assert_eq!(listed, DEFERRED.is_pending(), "everywhere: {everywhere}");
        }
        taken.into_iter().for_each(|object| super::super::put_one(class, object));
    }

    #[test]
    fn no_mark_is_missed_while_marks_are_applied() {
        let (rounds, last) = (Rounds::default(), if cfg!(miri) { 5 } else { 5_000 });
        std::thread::scope(|s| {
            s.spawn(|| rounds.apply(last));
            (1..=last).for_each(|round| rounds.mark(round));
        });
    }
}
