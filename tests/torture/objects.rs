//! Objects that tell what became of them, and the finds.
//!
//! ```text
//!   +----------------+------------+-----
//!   | magic          | generation | ...        magic = f(generation) from before it is published to after its grace
//!   +----------------+------------+-----       period; anything else once somebody has it for something else
//! ```

use crate::ages::{AGES, Seen};
use crate::machine::Rng;
use crate::{SLOTS, World};
use std::alloc::{Layout, alloc, handle_alloc_error};
use std::fmt;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed},
};
use std::time::Instant;

/// Sizes that nothing else in this program uses much.
pub(crate) const LAYOUTS: [Layout; 2] = [layout(80), layout(208)];

const fn layout(size: usize) -> Layout {
    match Layout::from_size_align(size, 8) {
        Ok(layout) => layout,
        Err(_) => unreachable!(),
    }
}

#[repr(C)]
pub(crate) struct Object {
    magic: AtomicU64,
    generation: AtomicU64,
}

fn magic_of(generation: u64) -> u64 {
    generation.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5ca1_ab1e_0ddb_a115
}

/// Memory for an object; this test cannot go on without.
pub(crate) fn allocate(layout: Layout) -> *mut Object {
    // SAFETY: the layout has a size.
    let object = unsafe { alloc(layout) };
    if object.is_null() {
        handle_alloc_error(layout);
    }
    object.cast()
}

impl Object {
    /// An object that nobody else knows yet.
    pub(crate) fn new(layout: Layout, generation: u64) -> *mut Object {
        let object = allocate(layout);
        // SAFETY: just allocated, and large enough.
        unsafe { (*object).publish(generation) };
        object
    }

    /// Makes it look like one that is published.
    pub(crate) fn publish(&self, generation: u64) {
        self.generation.store(generation, Relaxed);
        self.magic.store(magic_of(generation), Relaxed);
    }

    /// Makes it look like nothing that was ever published.
    pub(crate) fn spoil(&self, with: u64) {
        self.magic.store(with, Relaxed);
        self.generation.store(with, Relaxed);
    }

    /// The generation; `None` if this is no published object (any more).
    pub(crate) fn look(&self) -> Option<u64> {
        let generation = self.generation.load(Relaxed);
        (self.magic.load(Relaxed) == magic_of(generation)).then_some(generation)
    }
}

/// What a reader has at hand, and how it looked.
pub(crate) struct Look {
    object: *const Object,
    before: Option<u64>,
    aged: Seen,
}

// SAFETY: looked at by who holds the section's guard, by atomic loads.
unsafe impl Send for Look {}

impl World {
    /// The first look, at something; the caller is a reader until the second.
    pub(crate) fn look(&self, rng: &mut Rng) -> Look {
        self.look_at(rng.next() as usize)
    }

    /// As [`look`](Self::look); handlers have no random numbers.
    pub(crate) fn look_at(&self, dice: usize) -> Look {
        let object = self.slots[dice % SLOTS].load(Acquire);
        // SAFETY: published, and not given back while the guard lives, unless the allocator is broken. Then this is memory
        // that the allocator keeps, and only atomic loads look at it.
        let before = unsafe { (*object).look() };
        Look { object, before, aged: AGES.look(dice >> 16) }
    }

    /// The second.
    pub(crate) fn look_again(&self, look: &Look) {
        // SAFETY: as in the first.
        self.finds.compare(look.before, unsafe { (*look.object).look() });
        if !AGES.look_again(look.aged) {
            self.finds.add();
        }
    }
}

/// Objects that were not what they had been while a reader had them.
pub(crate) struct Finds {
    begin: Instant,
    count: AtomicU64,
    /// Microseconds to the first.
    first: AtomicU64,
}

impl Finds {
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now(), count: AtomicU64::new(0), first: AtomicU64::new(0) }
    }

    pub(crate) fn compare(&self, before: Option<u64>, after: Option<u64>) {
        if before.is_none() || before != after {
            self.add();
        }
    }

    #[cold]
    pub(crate) fn add(&self) {
        if self.count.fetch_add(1, Relaxed) == 0 {
            self.first.store(self.begin.elapsed().as_micros() as u64, Relaxed);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// When the first one was, if there was one.
    pub(crate) fn first(&self) -> impl fmt::Display {
        match self.count() {
            0 => String::new(),
            _ => format!(" (the first after {} us)", self.first.load(Relaxed)),
        }
    }
}
