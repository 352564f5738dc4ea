//! Numbered, type-stable records.
//!
//! Tagged stacks name their nodes by number and read nodes that others own, so what they hold must never be unmapped.
//! An arena maps chunks that double in size; a record's number gives its chunk and place without a search.
//!
//! ```text
//!   chunk 0: FIRST records | chunk 1: 2 * FIRST records | chunk 2: 4 * FIRST records | ...
//!   number      1 ..                                                     (0 is no record)
//! ```
//!
//! Invariant: a chunk, once visible, never moves or goes away; a number below `made` has its record.

use crate::platform::lock::Lock;
use crate::platform::memory;
use core::ptr;
use core::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

const CHUNKS: usize = 25;

/// A type whose all-zero bytes are a valid value.
///
/// # Safety
/// - That is so, and values are shared between threads as they stand (atomics, or fields under a lock).
pub(crate) unsafe trait Record: 'static {
    /// Records in the first chunk, a power of two.
    const FIRST: u32;
}

/// All records of a type.
pub(crate) struct Arena<T> {
    chunks: [AtomicPtr<T>; CHUNKS],
    made: AtomicU32,
    growth: Lock<()>,
}

impl<T: Record> Arena<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS],
            made: AtomicU32::new(0),
            growth: Lock::new(()),
        }
    }

    /// Numbers handed out so far: `1..=made()`.
    pub(crate) fn made(&self) -> u32 {
        self.made.load(Acquire) // Acquire: pairs with the Release in `make`, for the chunk below it
    }

    /// A new record, all zero, with its number; `None` without memory. May map memory: not in atomic context.
    pub(crate) fn make(&'static self) -> Option<(u32, &'static T)> {
        let _growing = self.growth.lock();
        let number = self.made.load(Relaxed) + 1;
        if number >> crate::tagged_stack::INDEX_BITS != 0 {
            return None;
        }
        let (chunk, _) = place::<T>(number);
        if self.chunks[chunk].load(Relaxed).is_null() {
            let records = (T::FIRST as usize) << chunk;
            let at = memory::for_ever(records.checked_mul(size_of::<T>())?)?.cast::<T>();
            self.chunks[chunk].store(at.as_ptr(), Release); // Release: pairs with the Acquire in `get`
        }
        self.made.store(number, Release); // Release: pairs with the Acquire in `made`
        Some((number, self.get(number)))
    }

    /// Gives the whole pages among the records with these numbers back to the system, which makes them zero; returns their
    /// bytes.
    ///
    /// # Safety
    /// - Nothing in them is needed, and nobody writes them meanwhile.
    pub(crate) unsafe fn purge(&'static self, numbers: core::ops::Range<u32>) -> usize {
        let (mut next, mut bytes) = (numbers.start, 0);
        while next < numbers.end {
            let (chunk, at) = place::<T>(next);
            let in_chunk = ((T::FIRST << chunk) - at as u32).min(numbers.end - next);
            let start = ptr::from_ref(self.get(next)).cast::<u8>().cast_mut();
            // SAFETY: records of one chunk, one behind the other; the rest is handed on to the caller.
            bytes += unsafe { memory::purge_within(start, in_chunk as usize * size_of::<T>()) };
            next += in_chunk;
        }
        bytes
    }

    /// Takes the growth lock, for fork.
    pub(crate) fn lock(&self) {
        core::mem::forget(self.growth.lock());
    }

    /// Leaves it again.
    ///
    /// # Safety
    /// - This thread called [`lock`](Self::lock).
    pub(crate) unsafe fn unlock(&self) {
        // SAFETY: handed on to the caller.
        unsafe { self.growth.unlock() };
    }

    /// The record with this number, which `make` handed out.
    pub(crate) fn get(&'static self, number: u32) -> &'static T {
        debug_assert!(number != 0 && number <= self.made.load(Relaxed));
        let (chunk, at) = place::<T>(number);
        let base = self.chunks[chunk].load(Acquire); // Acquire: pairs with the Release in `make`
        // SAFETY: the number was handed out, so its chunk is mapped for ever and the place lies in it; the bytes were
        // zero, a valid value, and are shared as the type allows.
        unsafe { &*base.add(at) }
    }
}

/// The chunk of a number and its place there.
fn place<T: Record>(number: u32) -> (usize, usize) {
    const { assert!(T::FIRST.is_power_of_two()) };
    let n = number - 1 + T::FIRST;
    let chunk = n.ilog2() - T::FIRST.ilog2();
    (chunk as usize, (n - (T::FIRST << chunk)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Cell4(AtomicU32);

    // SAFETY: an atomic integer.
    unsafe impl Record for Cell4 {
        const FIRST: u32 = 4;
    }

    #[test]
    fn records_keep_their_place_while_chunks_are_added() {
        static ARENA: Arena<Cell4> = Arena::new();
        for expected in 1..=100 {
            let (number, record) = ARENA.make().unwrap();
            assert_eq!(number, expected);
            assert_eq!(record.0.swap(number, Relaxed), 0, "a new record is zero");
        }
        assert_eq!(ARENA.made(), 100);
        assert!((1..=100).all(|n| ARENA.get(n).0.load(Relaxed) == n));
    }
}
