//! Shared records under every schedule: an object is never given back while a reader that was counted in uses it.
//!
//! ```text
//!   reader   parity ─ entered + 1 ─ FENCE ─ parity again ─ load pointer ─ use ─ left + 1 (release)
//!   driver   begin ─ flip ─ FENCE ─ left (acquire) ─ entered, until they are equal ─ end
//!   writer   unlink ─ position                                       ... elapsed? ─ give back
//! ```
//!
//! The object is a cell that readers read and the writer writes; loom fails the model when the two are not ordered. Once
//! they are three threads; else writer and driver are one, which leaves room for a second reader. Each part of the care is left
//! out once, in a [`Careless`] record: what loom then finds shows that it looks.

use super::*;
use crate::platform::sync::{AtomicU32, Ordering, fence, spin_hint};
use crate::sequence::Sequence;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// What the model needs of a record.
trait Record: Send + Sync + 'static {
    fn enter(&self) -> Parity;
    fn leave(&self, parity: Parity);
    /// Flips and settles; returns the parity that is retired.
    fn retire(&self) -> Parity;
    fn remaining(&self, parity: Parity) -> u64;
}

impl Record for Counts {
    fn enter(&self) -> Parity {
        self.enter().unwrap()
    }

    fn leave(&self, parity: Parity) {
        self.leave(parity);
    }

    fn retire(&self) -> Parity {
        let old = self.parity().unwrap();
        self.flip(old.other());
        fence(Ordering::SeqCst);
        old
    }

    fn remaining(&self, parity: Parity) -> u64 {
        remaining([self].into_iter(), parity)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    EnterWithoutFence,
    EnterWithoutSecondLook,
    LeaveRelaxed,
    FlipWithoutFence,
    LeftAddedUpRelaxed,
    EnteredAddedUpFirst,
    NewParityWaitedFor,
}

/// A record written once more, with one mistake.
struct Careless {
    counts: Counts,
    bug: Bug,
}

impl Record for Careless {
    fn enter(&self) -> Parity {
        loop {
            let parity = self.counts.parity().unwrap();
            self.counts.entered[parity.index()].fetch_add(1, Ordering::SeqCst);
            if self.bug != Bug::EnterWithoutFence {
                fence(Ordering::SeqCst);
            }
            if self.bug == Bug::EnterWithoutSecondLook || self.counts.parity() == Some(parity) {
                return parity;
            }
            self.counts.leave(parity);
        }
    }

    fn leave(&self, parity: Parity) {
        let order = if self.bug == Bug::LeaveRelaxed { Ordering::Relaxed } else { Ordering::Release };
        self.counts.left[parity.index()].fetch_add(1, order);
    }

    fn retire(&self) -> Parity {
        let old = self.counts.parity().unwrap();
        self.counts.flip(old.other());
        if self.bug != Bug::FlipWithoutFence {
            fence(Ordering::SeqCst);
        }
        if self.bug == Bug::NewParityWaitedFor { old.other() } else { old }
    }

    fn remaining(&self, parity: Parity) -> u64 {
        let (entered, left) = (&self.counts.entered[parity.index()], &self.counts.left[parity.index()]);
        let order = if self.bug == Bug::LeftAddedUpRelaxed { Ordering::Relaxed } else { Ordering::Acquire };
        if self.bug == Bug::EnteredAddedUpFirst {
            let entered = entered.load(Ordering::Acquire);
            return entered.wrapping_sub(left.load(order));
        }
        let left = left.load(order);
        entered.load(Ordering::Relaxed).wrapping_sub(left)
    }
}

struct World<R> {
    record: R,
    sequence: Sequence,
    /// 1 while the object is linked.
    link: AtomicU32,
    object: UnsafeCell<u32>,
}

// SAFETY: the cell is checked by loom, which is the point.
unsafe impl<R: Record> Sync for World<R> {}
// SAFETY: as above.
unsafe impl<R: Record> Send for World<R> {}

impl<R: Record> World<R> {
    fn new(record: R) -> Arc<Self> {
        let (link, object) = (AtomicU32::new(1), UnsafeCell::new(0));
        Arc::new(Self { record, sequence: Sequence::new(), link, object })
    }

    fn read(&self) {
        let parity = self.record.enter();
        self.look();
        self.record.leave(parity);
    }

    fn look(&self) {
        if self.link.load(Ordering::Acquire) == 1 {
            // SAFETY: loom checks that accesses are ordered.
            self.object.with(|word| unsafe { *word });
        }
    }

    fn unlink(&self) {
        self.link.store(0, Ordering::Release);
    }

    fn give_back(&self) {
        // SAFETY: loom checks that accesses are ordered.
        self.object.with_mut(|word| unsafe { *word = 1 });
    }

    fn grace_period(&self) {
        self.sequence.begin();
        let retired = self.record.retire();
        while self.record.remaining(retired) != 0 {
            spin_hint();
        }
        self.sequence.end();
    }

    fn write(&self) {
        self.unlink();
        let position = self.sequence.snapshot();
        for _ in 0..2 {
            if self.sequence.has_elapsed(position) {
                return self.give_back();
            }
            spin_hint(); // until others have done all they can
        }
    }

    /// A writer that drives.
    fn write_and_drive(&self, before: u32) {
        (0..before).for_each(|_| self.grace_period());
        self.unlink();
        self.grace_period();
        self.give_back();
    }
}

fn check(body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(body);
}

/// One reader; the writer's grace period is the second.
fn check_one<R: Record>(record: fn() -> R) {
    check(move || {
        let world = World::new(record());
        let reader = world.clone();
        let reader = thread::spawn(move || reader.read());
        world.write_and_drive(1);
        reader.join().unwrap();
    });
}

/// One reader is inside, another comes.
fn check_two<R: Record>(record: fn() -> R) {
    check(move || {
        let world = World::new(record());
        let inside = world.record.enter();
        let (writer, late) = (world.clone(), world.clone());
        let threads = [thread::spawn(move || writer.write_and_drive(0)), thread::spawn(move || late.read())];
        world.look();
        world.record.leave(inside);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn sound() -> Counts {
    Counts::new(Parity::FIRST)
}

fn careless(bug: Bug) -> Careless {
    Careless { counts: sound(), bug }
}

#[test]
fn nothing_is_given_back_under_a_counted_reader() {
    check_one(sound);
    check_two(sound);
}

#[test]
fn nothing_is_given_back_by_a_writer_who_lets_others_drive() {
    check(|| {
        let world = World::new(sound());
        let (reader, driver) = (world.clone(), world.clone());
        let drive = move || (0..2).for_each(|_| driver.grace_period());
        let threads = [thread::spawn(move || reader.read()), thread::spawn(drive)];
        world.write();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn the_record_that_the_mutants_are_made_of_is_sound() {
    check_one(|| careless(Bug::None));
    check_two(|| careless(Bug::None));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn entering_without_a_fence_is_found() {
    check_one(|| careless(Bug::EnterWithoutFence));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn entering_without_a_second_look_is_found() {
    check_one(|| careless(Bug::EnterWithoutSecondLook));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn leaving_without_release_is_found() {
    check_one(|| careless(Bug::LeaveRelaxed));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_flip_without_a_fence_is_found() {
    check_one(|| careless(Bug::FlipWithoutFence));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn left_added_up_without_acquire_is_found() {
    check_one(|| careless(Bug::LeftAddedUpRelaxed));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn entered_added_up_before_left_is_found() {
    check_two(|| careless(Bug::EnteredAddedUpFirst));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn waiting_for_the_new_parity_is_found() {
    check_one(|| careless(Bug::NewParityWaitedFor));
}
