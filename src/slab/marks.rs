//! Free marks: how `dealloc` cannot fail where it may neither take a lock nor find room in a magazine.
//!
//! The caller sets the object's bit and makes sure the segment is on a stack; the next slow path that may take locks
//! pops segments from it and puts the marked objects back.
//!
//! ```text
//!   mark                                     apply
//!     set the object's bit                     pop the segment
//!     set the span's bit in `marked`           listed = false
//!     listed.swap(true) == false?              take `marked`
//!       push the segment                       for each span there: take its bits, give those objects back
//! ```
//!
//! No mark is missed. If `apply` takes the bits before the mark sets its own, then by the release in the taking and the
//! acquire in the setting the marker sees `listed == false` or a later push, and pushes the segment (again). If it takes
//! them after, it has the mark. `listed` is cleared *first*: cleared last, a mark set in between would find the segment
//! listed, not push it, and never be looked at.
//!
//! A marked object is not free: its span cannot dissolve and its segment cannot go, so both stay valid in between.

use super::bin;
use super::segment::{self, ByNumber, Segment};
use super::span::{self, At};
use super::{corrupt, large};
use crate::size_class::SizeClass;
use crate::tagged_stack::TaggedStack;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed, Release},
};

/// Segments that have marks.
static MARKED: TaggedStack = TaggedStack::new();

/// Marks set so far.
pub(super) static MARKS: AtomicU64 = AtomicU64::new(0);

/// Marks an object of `class` as free. Never blocks, cannot fail.
pub(crate) fn mark_free(class: SizeClass, ptr: *mut u8) {
    let (at, object) = span::locate_in(class, ptr);
    // The free bit first: once the mark is set, an `apply` elsewhere may set it at any time.
    if at.segment.free.get(at.unit, object) || at.segment.free_marks.set_shared(at.unit, object) {
        corrupt("double free", ptr, Some(class));
    }
    MARKS.fetch_add(1, Relaxed);
    // AcqRel, twice: pairs with `apply_segment`; see the module's argument.
    at.segment.marked[at.unit / 64].fetch_or(1 << (at.unit % 64), AcqRel);
    if !at.segment.listed.swap(true, AcqRel) {
        MARKED.push(&ByNumber, at.segment.number());
    }
}

/// In the child of a fork, where no other thread runs: lists every segment that has marks, whoever was about to list or
/// apply it.
pub(crate) fn restart() {
    while MARKED.pop(&ByNumber).is_some() {}
    for number in 1..=segment::ARENA.made() {
        let segment = segment::ARENA.get(number);
        let marked = segment.marked.iter().any(|word| word.load(Relaxed) != 0);
        segment.listed.store(marked, Relaxed);
        if marked {
            MARKED.push(&ByNumber, number);
        }
    }
}

/// Whether there is anything to apply.
pub(crate) fn pending() -> bool {
    !MARKED.is_empty() || large::marks_pending()
}

/// Gives all marked objects back. Takes locks: not in atomic context.
pub(crate) fn apply() {
    while let Some(number) = MARKED.pop(&ByNumber) {
        apply_segment(segment::ARENA.get(number));
    }
    large::apply_marks();
}

fn apply_segment(segment: &'static Segment) {
    segment.listed.store(false, Release); // before the bits are taken
    for (at, word) in segment.marked.iter().enumerate() {
        let mut spans = word.swap(0, AcqRel);
        while spans != 0 {
            let unit = at * 64 + spans.trailing_zeros() as usize;
            spans &= spans - 1;
            apply_span(At { segment, unit });
        }
    }
}

fn apply_span(at: At) {
    for word in 0..at.objects().div_ceil(64) {
        let bits = at.segment.free_marks.word(at.unit, word).swap(0, AcqRel);
        if bits != 0 {
            bin::put_word(at, word, bits);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU32, Ordering::Acquire};
    use std::alloc::Layout;

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

        /// Marks objects meanwhile; then one more application must find the last of them.
        fn mark(&self, round: u32) {
            let taken: Vec<_> = (0..1 + round % 40).map(|_| super::super::take_one(class()).unwrap().0).collect();
            taken.iter().for_each(|&object| mark_free(class(), object));
            self.asked.store(round, Release);
            while self.paused.load(Acquire) < round {
                std::thread::yield_now();
            }
            apply();
            let (objects, free) = super::super::objects(class());
            self.over.store(if objects == free { round } else { u32::MAX }, Release);
            assert_eq!(objects, free, "round {round}: a marked object did not come back");
        }
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
