//! The sequence under every schedule: an object is never given back while a reader uses it.
//!
//! A writer unlinks the object, takes a position, and gives the object back once that has elapsed. A reader announces
//! itself as crossbeam's do: a store, a full fence, and only then the pointer. The driver runs two grace periods, each
//! of which waits until the reader's announcement is gone. The object is a cell that the reader reads and the writer
//! writes; loom fails the model when the two are not ordered.
//!
//! ```text
//!   writer   unlink ─ FENCE ─ load value              ... elapsed? (acquire) ─ give back
//!   driver   store odd ─ FENCE ─ load announcement, until it is gone (acquire) ─ store even (release)
//!   reader   announce ─ FENCE ─ load pointer ─ use ─ withdraw (release)
//! ```
//!
//! Each fence and each ordering is left out once, in a [`Careless`] sequence or a careless reader: what loom then
//! finds shows that it looks.

use super::*;
use crate::platform::sync::{AtomicU32, Ordering, fence, spin_hint};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// What the model needs of a sequence.
trait Clock: Send + Sync + 'static {
    fn snapshot(&self) -> u64;
    fn has_elapsed(&self, position: u64) -> bool;
    fn begin(&self);
    fn end(&self);
}

impl Clock for Sequence {
    fn snapshot(&self) -> u64 {
        self.snapshot()
    }

    fn has_elapsed(&self, position: u64) -> bool {
        self.has_elapsed(position)
    }

    fn begin(&self) {
        self.begin();
    }

    fn end(&self) {
        self.end();
    }
}

/// A sequence written once more, without some of its care.
struct Careless {
    value: AtomicU64,
    snapshot_fence: bool,
    begin_fence: bool,
    /// Whether a grace period that runs already counts for whoever comes.
    trusts_the_running: bool,
    elapsed: Ordering,
    begin: Ordering,
    end: Ordering,
}

impl Careless {
    /// With all its care: what each mutant leaves out is one field.
    fn new() -> Self {
        Self {
            value: AtomicU64::new(0),
            snapshot_fence: true,
            begin_fence: true,
            trusts_the_running: false,
            elapsed: Ordering::Acquire,
            begin: Ordering::Release,
            end: Ordering::Release,
        }
    }

    fn add(&self, order: Ordering) {
        self.value.store(self.value.load(Ordering::Relaxed) + 1, order);
    }
}

impl Clock for Careless {
    fn snapshot(&self) -> u64 {
        if self.snapshot_fence {
            fence(Ordering::SeqCst);
        }
        let value = self.value.load(Ordering::Relaxed);
        if self.trusts_the_running { (value + 2) & !1 } else { (value + 3) & !1 }
    }

    fn has_elapsed(&self, position: u64) -> bool {
        self.value.load(self.elapsed) >= position
    }

    fn begin(&self) {
        self.add(self.begin);
        if self.begin_fence {
            fence(Ordering::SeqCst);
        }
    }

    fn end(&self) {
        self.add(self.end);
    }
}

struct World<C> {
    sequence: C,
    /// 1 while the object is linked.
    link: AtomicU32,
    /// 1 while the reader is inside.
    announced: AtomicU32,
    object: UnsafeCell<u32>,
}

// SAFETY: the cell is checked by loom, which is the point.
unsafe impl<C: Clock> Sync for World<C> {}
// SAFETY: as above.
unsafe impl<C: Clock> Send for World<C> {}

impl<C: Clock> World<C> {
    fn new(sequence: C) -> Self {
        Self { sequence, link: AtomicU32::new(1), announced: AtomicU32::new(0), object: UnsafeCell::new(0) }
    }

    fn write(&self) {
        self.link.store(0, Ordering::Release);
        let position = self.sequence.snapshot();
        if self.sequence.has_elapsed(position) {
            self.give_back();
        } else {
            spin_hint(); // until others have done all they can
            if self.sequence.has_elapsed(position) {
                self.give_back();
            }
        }
    }

    fn give_back(&self) {
        // SAFETY: loom checks that accesses are ordered.
        self.object.with_mut(|word| unsafe { *word = 1 });
    }

    fn read(&self, with_fence: bool) {
        self.announced.store(1, Ordering::Relaxed);
        if with_fence {
            fence(Ordering::SeqCst);
        }
        if self.link.load(Ordering::Acquire) == 1 {
            // SAFETY: loom checks that accesses are ordered.
            self.object.with(|word| unsafe { *word });
        }
        self.announced.store(0, Ordering::Release);
    }

    fn drive(&self) {
        for _ in 0..2 {
            self.sequence.begin();
            while self.announced.load(Ordering::Acquire) == 1 {
                spin_hint();
            }
            self.sequence.end();
        }
    }
}

fn check<C: Clock>(sequence: fn() -> C, reader_fence: bool) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(move || {
        let world = Arc::new(World::new(sequence()));
        let (reader, driver) = (world.clone(), world.clone());
        let threads = [thread::spawn(move || reader.read(reader_fence)), thread::spawn(move || driver.drive())];
        world.write();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn nothing_is_given_back_while_a_reader_uses_it() {
    check(Sequence::new, true);
}

#[test]
fn the_sequence_that_the_mutants_are_made_of_is_sound() {
    check(Careless::new, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_position_without_a_fence_is_found() {
    check(|| Careless { snapshot_fence: false, ..Careless::new() }, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_beginning_without_a_fence_is_found() {
    check(|| Careless { begin_fence: false, ..Careless::new() }, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_reader_without_a_fence_is_found() {
    check(Sequence::new, false);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_position_that_trusts_the_running_grace_period_is_found() {
    check(|| Careless { trusts_the_running: true, ..Careless::new() }, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn an_elapsed_without_acquire_is_found() {
    check(|| Careless { elapsed: Ordering::Relaxed, ..Careless::new() }, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn an_end_without_release_is_found() {
    check(|| Careless { end: Ordering::Relaxed, ..Careless::new() }, true);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_beginning_that_hides_the_end_before_it_is_found() {
    check(|| Careless { begin: Ordering::Relaxed, ..Careless::new() }, true);
}
