//! The magazine: an array of pointers, the unit that moves between all layers.
//!
//! It stands in `platform` because the restartable sections read and write its header by offset:
//!
//! ```text
//!   0      4          8      12      16     20      24      32                                MAGAZINE_BYTES
//!   +------+----------+------+-------+------+-------+-------+---------+---------+-- ... --+
//!   | count| capacity | link | index | home | class | stamp | object 0| object 1|          |
//!   +------+----------+------+-------+------+-------+-------+---------+---------+-- ... --+
//!     live objects are 0 .. count; the next one handed out is count - 1
//! ```
//!
//! Invariants:
//! - `count <= capacity <= OBJECTS`.
//! - `count` and the objects are written only by code on the CPU whose slot holds the magazine, inside a section (or
//!   under the slot's lock), or by the one thread that took it out.
//! - `link` belongs to the tagged stack that holds the magazine, the rest of the header to the thread that owns it.
//! - `class` and `stamp` are those of deferral; nobody else sets or reads them.
//! - Magazines are type-stable: never unmapped, so a stale pointer to one still reads a magazine.
//! - [`EMPTY`] has count 0 and capacity 0 and is never written: it can stand in any number of slots at once.

use super::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering::Relaxed};

/// Size of a magazine with its header, in bytes.
#[cfg(not(any(loom, miri)))]
pub(crate) const MAGAZINE_BYTES: usize = 33 * 64;
/// Small under loom and Miri, so that a full magazine is a common event.
#[cfg(any(loom, miri))]
pub(crate) const MAGAZINE_BYTES: usize = 64;

/// Size of the header in front of the objects, in bytes.
pub(crate) const HEADER_BYTES: usize = 32;

/// How many objects fit one.
pub(crate) const OBJECTS: usize = (MAGAZINE_BYTES - HEADER_BYTES) / 8;

/// An array of pointers to objects of one class.
#[repr(C, align(64))]
pub(crate) struct Magazine {
    count: AtomicU32,
    capacity: AtomicU32,
    link: AtomicU32,
    index: AtomicU32,
    home: AtomicU32,
    class: AtomicU32,
    stamp: AtomicU64,
    objects: [AtomicPtr<u8>; OBJECTS],
}

// The sections address these fields by number.
#[cfg(all(not(loom), target_pointer_width = "64"))]
const _: () = {
    assert!(core::mem::offset_of!(Magazine, count) == 0);
    assert!(core::mem::offset_of!(Magazine, capacity) == 4);
    assert!(core::mem::offset_of!(Magazine, objects) == HEADER_BYTES);
    assert!(core::mem::size_of::<Magazine>() == MAGAZINE_BYTES);
};

/// The magazine that stands in a slot which has none: nothing to pop, no room to push.
#[cfg(not(loom))]
pub(crate) static EMPTY: Magazine = Magazine {
    count: AtomicU32::new(0),
    capacity: AtomicU32::new(0),
    link: AtomicU32::new(0),
    index: AtomicU32::new(0),
    home: AtomicU32::new(0),
    class: AtomicU32::new(0),
    stamp: AtomicU64::new(0),
    objects: [const { AtomicPtr::new(core::ptr::null_mut()) }; OBJECTS],
};

/// Room in a magazine, filled from the top down without a look at its count.
#[cfg(not(loom))]
pub(crate) struct Filler<'a> {
    objects: &'a [AtomicPtr<u8>],
    left: usize,
}

#[cfg(not(loom))]
impl Filler<'_> {
    /// Adds an object, if there is room.
    #[inline(always)]
    pub(crate) fn put(&mut self, object: *mut u8) {
        if let Some(place) = self.objects.get(self.left.wrapping_sub(1)) {
            place.store(object, Relaxed);
            self.left -= 1;
        }
    }
}

impl Magazine {
    /// A magazine of its own for a model, which has no arena.
    #[cfg(all(test, loom))]
    pub(crate) fn boxed(capacity: u32) -> Box<Self> {
        Box::new(Self {
            count: AtomicU32::new(0),
            capacity: AtomicU32::new(capacity),
            link: AtomicU32::new(0),
            index: AtomicU32::new(0),
            home: AtomicU32::new(0),
            class: AtomicU32::new(0),
            stamp: AtomicU64::new(0),
            objects: core::array::from_fn(|_| AtomicPtr::new(core::ptr::null_mut())),
        })
    }

    /// Live objects. Exact for the owner, a hint for everybody else.
    pub(crate) fn count(&self) -> u32 {
        self.count.load(Relaxed) // Relaxed: the owner's own data; ownership came with an acquire
    }

    pub(crate) fn capacity(&self) -> u32 {
        self.capacity.load(Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.count() >= self.capacity()
    }

    /// Takes the newest object. Only for the owner.
    pub(crate) fn pop(&self) -> Option<*mut u8> {
        let last = self.count().checked_sub(1)?;
        let object = self.objects[last as usize].load(Relaxed);
        self.count.store(last, Relaxed);
        Some(object)
    }

    /// Adds an object; false when the magazine is full. Only for the owner.
    pub(crate) fn push(&self, object: *mut u8) -> bool {
        let count = self.count();
        if count >= self.capacity() {
            return false;
        }
        self.objects[count as usize].store(object, Relaxed);
        self.count.store(count + 1, Relaxed);
        true
    }

    /// Fills an empty one with up to `want` objects that `take` puts in; the first will be popped first. Only for the owner.
    #[cfg(not(loom))]
    pub(crate) fn fill(&self, want: usize, take: impl FnOnce(&mut Filler<'_>)) {
        debug_assert!(self.is_empty());
        let objects = &self.objects[..want.min(self.capacity() as usize)];
        let mut filler = Filler { objects, left: objects.len() };
        take(&mut filler);
        let left = filler.left;
        if left != 0 {
            (left..objects.len()).for_each(|n| objects[n - left].store(objects[n].load(Relaxed), Relaxed));
        }
        self.count.store((objects.len() - left) as u32, Relaxed);
    }

    /// Takes all objects out, the oldest first. Only for the owner.
    #[cfg(not(loom))]
    pub(crate) fn drain(&self) -> impl Iterator<Item = *mut u8> {
        let live = &self.objects[..self.count() as usize];
        self.count.store(0, Relaxed);
        live.iter().map(|object| object.load(Relaxed))
    }

    /// Makes an empty magazine one of a class that holds `capacity` objects a page. Only for the owner.
    pub(crate) fn set_capacity(&self, capacity: u32) {
        debug_assert!(self.is_empty() && capacity as usize <= OBJECTS);
        self.capacity.store(capacity, Relaxed);
    }

    /// The stack link, see `tagged_stack`.
    pub(crate) fn link(&self) -> &AtomicU32 {
        &self.link
    }

    /// Its number in the arena, from 1.
    pub(crate) fn index(&self) -> u32 {
        self.index.load(Relaxed)
    }

    /// The cell it goes home to.
    pub(crate) fn home(&self) -> u32 {
        self.home.load(Relaxed)
    }

    pub(crate) fn set_home(&self, cell: u32) {
        self.home.store(cell, Relaxed);
    }

    /// The number of the class whose deferred objects it holds.
    #[cfg(not(loom))]
    pub(crate) fn class(&self) -> usize {
        self.class.load(Relaxed) as usize
    }

    #[cfg(not(loom))]
    pub(crate) fn set_class(&self, class: usize) {
        self.class.store(class as u32, Relaxed);
    }

    /// The grace period that its objects wait for.
    #[cfg(not(loom))]
    pub(crate) fn stamp(&self) -> &AtomicU64 {
        &self.stamp
    }

    /// Gives a magazine fresh from the arena its number.
    #[cfg(not(loom))]
    pub(crate) fn set_index(&self, index: u32) {
        self.index.store(index, Relaxed);
    }
}
