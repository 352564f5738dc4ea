//! Objects that age by one with each grace period, as in the kernel's rcutorture.
//!
//! ```text
//!   in a slot, age 0 ── unlinked, age 1 ── a grace period ── age 2 ── ... ── age 10 ── spoilt, in a slot again
//! ```
//!
//! A reader that had an object at hand before it was unlinked is one that the first grace period waits for: at the end of its
//! section it may find age 0 or 1. What it finds beyond is by how many grace periods too few somebody waited. Nothing here
//! is freed, so an error is counted and not crashed on, and the allocator's caches do not blur when it happened.
//!
//! What waits for grace periods: cookies (polled, or waited for), `synchronize` in three forms, and destructors that
//! defer themselves again.

use crate::machine::Rng;
use crate::readers::spin;
use gracealloc::{GraceCookie, defer_drop, synchronize, synchronize_expedited, synchronize_timeout};
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::time::Duration;

/// Objects, slots, and the age at which an object is used again.
const OBJECTS: usize = 1024;
const SLOTS: usize = 2;
const RECYCLED: u32 = 10;
/// So many may age by destructors, which take a pass of the worker for each grace period.
const TURNING: u32 = 64;

pub(crate) struct Ages {
    objects: [Aged; OBJECTS],
    /// Numbers of objects, all different.
    slots: [AtomicU32; SLOTS],
    unused: Mutex<Vec<u32>>,
    /// Unlinked, and not used again yet.
    ageing: AtomicU32,
    /// Those of them that age by destructors.
    turning: AtomicU32,
    /// Sections that ended with an object of this age (0 is not counted: that is the rest).
    found: [AtomicU64; RECYCLED as usize + 1],
    updates: AtomicU64,
}

#[repr(align(64))]
struct Aged {
    age: AtomicU32,
    /// Since it was published; 0 once it is to be used again.
    generation: AtomicU64,
}

/// All runs of a process share these.
pub(crate) static AGES: Ages = Ages {
    objects: [const { Aged { age: AtomicU32::new(0), generation: AtomicU64::new(1) } }; OBJECTS],
    slots: [const { AtomicU32::new(0) }; SLOTS],
    unused: Mutex::new(Vec::new()),
    ageing: AtomicU32::new(0),
    turning: AtomicU32::new(0),
    found: [const { AtomicU64::new(0) }; RECYCLED as usize + 1],
    updates: AtomicU64::new(0),
};

/// What a reader has at hand.
#[derive(Clone, Copy)]
pub(crate) struct Seen {
    number: u32,
    generation: u64,
}

impl Ages {
    /// Before all runs.
    pub(crate) fn prepare(&self) {
        (0..SLOTS).for_each(|slot| self.slots[slot].store(slot as u32, Relaxed));
        self.unused.lock().unwrap().extend(SLOTS as u32..OBJECTS as u32);
    }

    fn object(&self, number: u32) -> &Aged {
        &self.objects[number as usize]
    }

    pub(crate) fn look(&self, dice: usize) -> Seen {
        let number = self.slots[dice % SLOTS].load(Acquire);
        Seen { number, generation: self.object(number).generation.load(Relaxed) }
    }

    /// Whether the object is what it was, and no older than it may be.
    pub(crate) fn look_again(&self, seen: Seen) -> bool {
        let object = self.object(seen.number);
        let age = object.age.load(Relaxed);
        if age != 0 {
            self.found[age.min(RECYCLED) as usize].fetch_add(1, Relaxed);
        }
        age <= 1 && seen.generation != 0 && object.generation.load(Relaxed) == seen.generation
    }

    /// Puts another object into a slot; the old one has age 1. `None` while all are under way.
    fn replace(&self, slot: usize) -> Option<u32> {
        let new = self.unused.lock().unwrap().pop()?;
        let object = self.object(new);
        object.age.store(0, Relaxed);
        object.generation.store(self.updates.fetch_add(1, Relaxed) + 2, Relaxed);
        let old = self.slots[slot].swap(new, AcqRel);
        self.object(old).age.store(1, Relaxed);
        self.ageing.fetch_add(1, Relaxed);
        Some(old)
    }

    /// A grace period has passed; true if that was the last.
    fn age(&self, number: u32) -> bool {
        let object = self.object(number);
        let last = object.age.fetch_add(1, Relaxed) + 1 == RECYCLED;
        if last {
            object.generation.store(0, Relaxed);
            self.unused.lock().unwrap().push(number);
            self.ageing.fetch_sub(1, Relaxed);
        }
        last
    }

    pub(crate) fn updates(&self) -> u64 {
        self.updates.load(Relaxed)
    }

    /// Waits until all are used again.
    pub(crate) fn finish(&self) {
        while self.ageing.load(Relaxed) != 0 {
            gracealloc::barrier();
        }
    }

    /// How many sections ended with an object of each age above 0.
    pub(crate) fn histogram(&self) -> impl fmt::Display {
        let mut text = String::new();
        for (age, found) in self.found.iter().enumerate().skip(1).filter(|(age, n)| *age == 1 || n.load(Relaxed) != 0) {
            write!(text, " {age}:{}", found.load(Relaxed)).unwrap();
        }
        text
    }
}

/// One grace period of an object that ages by destructors, on the worker.
struct Turn(u32);

impl Drop for Turn {
    fn drop(&mut self) {
        if AGES.age(self.0) {
            AGES.turning.fetch_sub(1, Relaxed);
        } else {
            turn_later(self.0);
        }
    }
}

fn turn_later(number: u32) {
    // SAFETY: from a box that nobody else has seen.
    unsafe { defer_drop(Box::into_raw(Box::new(Turn(number)))) };
}

/// Replaces objects and lets them age, until it is stopped.
pub(crate) fn age(stopped: impl Fn() -> bool, mut rng: Rng) {
    let mut waiting = VecDeque::new();
    while !stopped() {
        match AGES.replace(rng.below(SLOTS)) {
            Some(old) => retire(old, &mut waiting, &mut rng),
            None => wait_for(&mut waiting, &mut rng),
        }
        // Between two steps of a grace period: what is unlinked once readers have been looked at is what a bug loses.
        if rng.one_in(2) {
            spin(Duration::from_nanos(rng.below(20_000) as u64));
        }
        while waiting.front().is_some_and(|(cookie, _): &(GraceCookie, u32)| cookie.is_elapsed()) {
            grow_older(&mut waiting);
        }
    }
    while let Some((cookie, _)) = waiting.front() {
        cookie.wait();
        grow_older(&mut waiting);
    }
}

/// The oldest of those that wait has seen its grace period.
fn grow_older(waiting: &mut VecDeque<(GraceCookie, u32)>) {
    let (_, number) = waiting.pop_front().expect("looked at");
    if !AGES.age(number) {
        waiting.push_back((GraceCookie::start(), number));
    }
}

fn retire(old: u32, waiting: &mut VecDeque<(GraceCookie, u32)>, rng: &mut Rng) {
    match rng.below(100) {
        0..20 if AGES.turning.fetch_add(1, Relaxed) < TURNING => return turn_later(old),
        0..20 => _ = AGES.turning.fetch_sub(1, Relaxed),
        20..22 => return synchronize_and_grow(old, synchronize, waiting),
        22..24 => return synchronize_and_grow(old, synchronize_expedited, waiting),
        24..25 => return synchronize_and_grow(old, || while synchronize_timeout(SHORT).is_err() {}, waiting),
        _ => {}
    }
    waiting.push_back((GraceCookie::start(), old));
}

const SHORT: Duration = Duration::from_micros(500);

fn synchronize_and_grow(old: u32, synchronize: impl Fn(), waiting: &mut VecDeque<(GraceCookie, u32)>) {
    synchronize();
    AGES.age(old);
    waiting.push_back((GraceCookie::start(), old));
}

/// All objects are under way: waits for the oldest, or lets others run.
fn wait_for(waiting: &mut VecDeque<(GraceCookie, u32)>, rng: &mut Rng) {
    match waiting.front() {
        Some((cookie, _)) if rng.one_in(2) => cookie.wait(),
        _ => std::thread::yield_now(),
    }
}
