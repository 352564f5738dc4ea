//! The locked slot under every schedule: nothing is lost, nothing is handed out twice, and who gets an object or a
//! magazine sees what its last owner did to it. *Busy* is a legal answer everywhere.
//!
//! Objects are numbers; each has a cell that its owner writes to. Loom fails the model when two accesses of a cell are
//! not ordered, which is what a lock without its release would lead to.

use super::*;
use crate::platform::sync::AtomicPtr;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

const OBJECTS: usize = 4;

/// A slot, two magazines that can stand in it, and the objects.
struct World {
    slot: AtomicPtr<Magazine>,
    first: Box<Magazine>,
    second: Box<Magazine>,
    objects: [UnsafeCell<u32>; OBJECTS],
}

// SAFETY: the magazines are atomics; the cells are checked by loom, which is the point.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

fn raw(magazine: &Magazine) -> *mut Magazine {
    core::ptr::from_ref(magazine).cast_mut()
}

impl World {
    /// The first magazine in the slot, with the objects `1..=n`.
    fn new(capacity: u32, n: usize) -> Arc<Self> {
        let (first, second) = (Magazine::boxed(capacity), Magazine::boxed(capacity));
        (1..=n).for_each(|object| assert!(first.push(core::ptr::without_provenance_mut(object))));
        let slot = AtomicPtr::new(raw(&first));
        Arc::new(Self { slot, first, second, objects: core::array::from_fn(|_| UnsafeCell::new(0)) })
    }

    /// The caller owns the object and uses it.
    fn touch(&self, object: usize) -> usize {
        // SAFETY: loom checks that accesses are ordered.
        self.objects[object - 1].with_mut(|n| unsafe { *n += 1 });
        object
    }

    fn pop(&self) -> Vec<usize> {
        // SAFETY: the slot always holds one of the magazines.
        match unsafe { pop(&self.slot) } {
            Pop::Object(object) => vec![self.touch(object.addr())],
            Pop::Empty | Pop::Busy => vec![],
        }
    }

    /// What could not be pushed stays with the caller.
    fn push(&self, object: usize) -> Vec<usize> {
        let object = self.touch(object);
        // SAFETY: the slot always holds one of the magazines.
        match unsafe { push(&self.slot, core::ptr::without_provenance_mut(object)) } {
            Push::Done => vec![],
            Push::Full | Push::Busy => vec![object],
        }
    }

    /// Puts the second magazine in; on success the first one is ours at once, with all it holds.
    fn replace(&self) -> Vec<usize> {
        match replace(&self.slot, raw(&self.first), raw(&self.second)) {
            Replace::Done => self.drain(&self.first),
            Replace::Changed | Replace::Busy => vec![],
        }
    }

    fn drain(&self, magazine: &Magazine) -> Vec<usize> {
        std::iter::from_fn(|| magazine.pop()).map(|object| self.touch(object.addr())).collect()
    }

    /// What is left in the slot, once all threads have ended.
    fn rest(&self) -> Vec<usize> {
        let left = peek(&self.slot);
        assert_eq!(left, self.slot.load(Relaxed), "nobody is inside any more");
        // SAFETY: one of the magazines.
        self.drain(unsafe { &*left })
    }
}

/// Runs the steps on a thread each and checks that the objects `1..=n` are all there, once each.
fn check(capacity: u32, inside: usize, n: usize, steps: &'static [fn(&World) -> Vec<usize>]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(move || {
        let world = World::new(capacity, inside);
        let spawn = |step: &'static fn(&World) -> Vec<usize>| {
            let world = world.clone();
            thread::spawn(move || step(&world))
        };
        let threads: Vec<_> = steps[1..].iter().map(spawn).collect();
        let mut all = steps[0](&world);
        all.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
        all.extend(world.rest());
        all.sort_unstable();
        assert_eq!(all, (1..=n).collect::<Vec<_>>());
    });
}

#[test]
fn pops_of_one_slot_get_different_objects() {
    check(2, 2, 2, &[|w| w.pop(), |w| w.pop(), |w| w.pop()]);
}

#[test]
fn what_one_thread_pushes_another_pops_whole() {
    check(2, 0, 2, &[|w| w.push(1), |w| w.push(2), |w| w.pop()]);
}

#[test]
fn a_full_magazine_takes_nothing() {
    check(1, 1, 3, &[|w| w.push(2), |w| w.push(3)]);
}

#[test]
fn who_replaces_owns_what_was_pushed_before() {
    check(2, 1, 2, &[|w| w.replace(), |w| w.push(2)]);
}

#[test]
fn who_replaces_leaves_nothing_to_a_popper() {
    check(2, 2, 2, &[|w| w.replace(), |w| w.pop(), |w| w.pop()]);
}

#[test]
fn one_of_two_replacers_wins() {
    check(2, 1, 2, &[|w| w.replace(), |w| w.replace(), |w| w.push(2)]);
}

#[test]
fn a_thread_that_goes_on_after_a_replacement_works_on_the_new_magazine() {
    check(
        2,
        1,
        3,
        &[
            |w| w.replace(),
            |w| {
                let mut kept = w.push(2);
                kept.extend(w.push(3));
                kept.extend(w.pop());
                kept
            },
        ],
    );
}
