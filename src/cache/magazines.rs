//! All magazines, and what it means to hold one.

use crate::arena::{Arena, Record};
use crate::platform::slots;
use crate::platform::{Magazine, sync::AtomicU32};
use crate::tagged_stack::Nodes;
use core::ops::Deref;

// SAFETY: all zero is an empty magazine without capacity; its fields are atomics.
unsafe impl Record for Magazine {
    const FIRST: u32 = 128;
}

static ARENA: Arena<Magazine> = Arena::new();

/// Finds magazines by number, for tagged stacks.
pub(crate) struct ByNumber;

impl Nodes for ByNumber {
    fn link(&self, index: u32) -> &AtomicU32 {
        ARENA.get(index).link()
    }
}

/// A magazine in this thread's hand: nobody else reads or writes it. Dropping one loses it, so all of them end in
/// a slot or on a stack.
#[must_use = "a magazine that is dropped is lost"]
pub(crate) struct Hand(&'static Magazine);

impl Hand {
    /// A new magazine, its page touched; `None` without memory. May map memory: not in atomic context.
    pub(super) fn make() -> Option<Self> {
        let (number, magazine) = ARENA.make()?;
        magazine.set_index(number);
        Some(Self(magazine))
    }

    /// One that was set aside, and may have become zero meanwhile: as good as new.
    ///
    /// # Safety
    /// - The caller just became its owner.
    pub(super) unsafe fn anew(number: u32) -> Self {
        let magazine = ARENA.get(number);
        magazine.set_index(number);
        Self(magazine)
    }

    /// The magazine with this number.
    ///
    /// # Safety
    /// - The caller just became its owner (took it off a stack).
    pub(crate) unsafe fn by_number(number: u32) -> Self {
        Self(ARENA.get(number))
    }

    /// The magazine at this address, `None` for EMPTY, which is never owned.
    ///
    /// # Safety
    /// - The caller just became its owner (took it out of a slot).
    pub(crate) unsafe fn from_raw(magazine: *mut Magazine) -> Option<Self> {
        // SAFETY: what stands in slots are magazines, which are type-stable.
        (magazine != slots::empty()).then(|| Self(unsafe { &*magazine }))
    }

    /// Its address, to be put into a slot.
    pub(crate) fn as_raw(&self) -> *mut Magazine {
        core::ptr::from_ref(self.0).cast_mut()
    }
}

impl Deref for Hand {
    type Target = Magazine;

    fn deref(&self) -> &Magazine {
        self.0
    }
}

/// The magazine with this number, whoever owns it.
pub(crate) fn magazine(number: u32) -> &'static Magazine {
    ARENA.get(number)
}

/// Magazines made so far.
pub(crate) fn made() -> u32 {
    ARENA.made()
}

/// Gives the whole pages among magazines with these numbers back to the system; returns their bytes. Those magazines read
/// as zero then.
///
/// # Safety
/// - They are empty, and nobody owns or takes them meanwhile.
pub(super) unsafe fn purge(numbers: core::ops::Range<u32>) -> usize {
    // SAFETY: handed on to the caller.
    unsafe { ARENA.purge(numbers) }
}

/// Takes the lock of this file, for fork.
pub(super) fn lock_all() {
    ARENA.lock();
}

/// Leaves it.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(super) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    unsafe { ARENA.unlock() };
}
