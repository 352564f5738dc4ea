//! All magazines, and what it means to hold one.
//!
//! The first magazine of each class is a *short* one: a program that uses many classes a little would otherwise fill half a
//! page of pointers for each. It serves once; when it is empty it retires, and the class is served by whole ones.

use super::{aside, short};
use crate::arena::{Arena, Record};
use crate::platform::slots;
use crate::platform::{Magazine, sync::AtomicU32};
use crate::size_class::SizeClass;
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
        magazine(index).link()
    }
}

/// A magazine in this thread's hand: nobody else reads or writes it. Dropping one loses it, so all of them end in
/// a slot or on a stack.
#[must_use = "a magazine that is dropped is lost"]
pub(crate) struct Hand(&'static Magazine);

impl Hand {
    /// A new magazine, its page touched; `None` without memory. May map memory: not in atomic context.
    pub(super) fn make() -> Option<Self> {
        let (number, magazine) = ARENA.make().filter(|&(number, _)| !short::is_number(number))?;
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

    /// The short magazine of a class, which nobody has had yet; its capacity is set.
    pub(super) fn first(class: SizeClass) -> Option<Self> {
        short::first(class).map(Self)
    }

    /// Whether it is a short one, not to be filled again.
    pub(super) fn is_short(&self) -> bool {
        short::is_number(self.index())
    }

    /// The end of a short magazine, which is empty.
    pub(super) fn retire(self) {
        debug_assert!(self.is_short() && self.is_empty());
        short::retire();
    }

    /// The magazine with this number.
    ///
    /// # Safety
    /// - The caller just became its owner (took it off a stack).
    pub(crate) unsafe fn by_number(number: u32) -> Self {
        Self(magazine(number))
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
    if short::is_number(number) { short::magazine(number) } else { ARENA.get(number) }
}

/// The highest number of a whole magazine.
pub(super) fn last() -> u32 {
    ARENA.made()
}

/// Magazines there are, without those that have retired or are aside, and their bytes.
pub(crate) fn made() -> (u32, usize) {
    let (whole, short) = (ARENA.made().saturating_sub(aside::count()), short::in_use());
    (whole + short, whole as usize * size_of::<Magazine>() + short as usize * short::BYTES)
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
