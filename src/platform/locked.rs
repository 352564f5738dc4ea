//! Slot operations without restartable sequences: the portable fallback, and the extra cell.
//!
//! A slot is one word, the magazine's address; its lowest bit is a try-lock. Who sets the bit may work on the magazine,
//! who finds it set tries a bounded number of times and then answers *busy*: the holder may be the very thread that a
//! signal handler interrupted, and then waiting would never end.
//!
//! ```text
//!   slot = magazine | 0   at rest: replace and take are one compare-exchange
//!   slot = magazine | 1   someone is inside pop or push
//! ```
//!
//! Invariant: a magazine that left its slot by compare-exchange from the unlocked word has nobody inside, so who takes
//! it owns it at once, without a membarrier.

use super::magazine::Magazine;
use super::sync::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    spin_hint,
};

/// How often a locked slot is tried before the answer is busy.
#[cfg(not(any(loom, miri)))]
const TRIES: u32 = 64;
#[cfg(any(loom, miri))]
const TRIES: u32 = 2;

/// What [`pop`] answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pop {
    Object(*mut u8),
    Empty,
    Busy,
}

/// What [`push`] answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Push {
    Done,
    Full,
    Busy,
}

/// What [`replace`] answers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Replace {
    Done,
    Changed,
    Busy,
}

type Slot = AtomicPtr<Magazine>;

fn is_locked(word: *mut Magazine) -> bool {
    word.addr() & 1 != 0
}

fn locked(word: *mut Magazine) -> *mut Magazine {
    word.map_addr(|a| a | 1)
}

fn unlocked(word: *mut Magazine) -> *mut Magazine {
    word.map_addr(|a| a & !1)
}

/// Locks the slot and returns its magazine; `None` when it stays locked.
fn lock(slot: &Slot) -> Option<*mut Magazine> {
    for _ in 0..TRIES {
        let word = slot.load(Relaxed); // Relaxed: the exchange below decides
        // Acquire: pairs with the Release in `unlock` and `replace`, whose count and objects are used next.
        if !is_locked(word) && slot.compare_exchange(word, locked(word), Acquire, Relaxed).is_ok() {
            return Some(word);
        }
        spin_hint();
    }
    None
}

fn unlock(slot: &Slot, magazine: *mut Magazine) {
    slot.store(magazine, Release); // Release: pairs with the Acquire in `lock`, `replace` and `peek`
}

/// Opens a lock whose holder is gone. Only where no other thread runs: in the child of a fork.
pub(crate) fn open(slot: &Slot) {
    unlock(slot, unlocked(slot.load(Relaxed)));
}

/// Takes the newest object of the slot's magazine.
///
/// # Safety
/// - The slot holds a magazine (or EMPTY).
pub(crate) unsafe fn pop(slot: &Slot) -> Pop {
    let Some(magazine) = lock(slot) else { return Pop::Busy };
    // SAFETY: the slot's lock is held, so its magazine is ours.
    let object = unsafe { (*magazine).pop() };
    unlock(slot, magazine);
    object.map_or(Pop::Empty, Pop::Object)
}

/// Adds an object to the slot's magazine.
///
/// # Safety
/// - The slot holds a magazine (or EMPTY).
pub(crate) unsafe fn push(slot: &Slot, object: *mut u8) -> Push {
    let Some(magazine) = lock(slot) else { return Push::Busy };
    // SAFETY: the slot's lock is held, so its magazine is ours.
    let done = unsafe { (*magazine).push(object) };
    unlock(slot, magazine);
    if done { Push::Done } else { Push::Full }
}

/// The slot's magazine at this moment: a hint for [`replace`].
pub(crate) fn peek(slot: &Slot) -> *mut Magazine {
    unlocked(slot.load(Acquire)) // Acquire: its capacity is read next; pairs with whoever installed it
}

/// Swaps the slot's magazine from `expected` to `new`; on `Done` the caller owns `expected`.
pub(crate) fn replace(slot: &Slot, expected: *mut Magazine, new: *mut Magazine) -> Replace {
    for _ in 0..TRIES {
        // AcqRel: hands over `new` (to `lock`'s Acquire) and takes over `expected` (from `unlock`'s Release).
        match slot.compare_exchange(expected, new, AcqRel, Relaxed) {
            Ok(_) => return Replace::Done,
            Err(seen) if seen == locked(expected) => spin_hint(),
            Err(_) => return Replace::Changed,
        }
    }
    Replace::Busy
}

#[cfg(all(test, loom))]
mod model;
