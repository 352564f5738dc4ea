//! Counts of readers: who entered, and who left, by the parity they came under. One record for each CPU.
//!
//! ```text
//!   +--------+------------+------------+---------+---------+-------+
//!   | parity | entered[0] | entered[1] | left[0] | left[1] | owned |      one cache line
//!   +--------+------------+------------+---------+---------+-------+
//!     0: closed; else the distance in bytes from here to the count that who comes now adds to
//! ```
//!
//! A reader adds to `entered` where it begins and to `left` where it ends, which may be another record: only the sums over
//! all records mean anything. A grace period stores the other parity in each record, and then waits until as many have
//! left under the old one as have entered. In SRCU's words (the Linux kernel's `kernel/rcu/srcutree.c`) these are
//! `srcu_unlocks` and `srcu_locks`.
//!
//! Here is the protocol of records that several threads share: those of the fallback's shards, and the one that is nobody's.
//! Where a record belongs to a CPU, sections do the same with plain instructions (`rseq`), and membarriers what the full
//! fences do here.
//!
//! **Entering, against a flip.** *enter*: add to `entered[p]`, full fence, look at the parity again. *flip*: store the
//! other parity, full fence, add up. Of the two fences one is first:
//! - the reader's: then the sum has its count, and the grace period waits;
//! - the flip's: then the reader sees the other parity, takes its count back (by leaving) and comes again under that one.
//!
//! **Adding up.** `left` first, `entered` after it, so that a count which is taken back cannot stand in for a reader:
//! whoever is seen to have left is also seen to have entered.

use super::delay;
use super::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    full_fence,
};

/// Under which parity a reader came: the distance of its `entered` from the head of a record, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parity(u64);

impl Parity {
    /// The one that a process begins with.
    pub(crate) const FIRST: Self = Self(8);

    /// From the bytes that sections work with; `None` for a closed record.
    #[inline(always)]
    pub(crate) fn from_bytes(bytes: u64) -> Option<Self> {
        (bytes != 0).then_some(Self(bytes))
    }

    #[inline(always)]
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    fn index(self) -> usize {
        (self.0 / 8 - 1) as usize
    }

    /// The other one.
    pub(crate) fn other(self) -> Self {
        Self(Self(8).0 + Self(16).0 - self.0)
    }
}

/// One record. All zero is a closed one without counts.
#[repr(C, align(64))]
pub(crate) struct Counts {
    parity: AtomicU64,
    entered: [AtomicU64; 2],
    left: [AtomicU64; 2],
    /// Guards that may move between threads: opened here less dropped here.
    owned: AtomicU64,
}

/// From a count of `entered` to that of `left`, in bytes.
pub(super) const TO_LEFT: usize = 16;

#[cfg(not(loom))]
const _: () = {
    assert!(core::mem::offset_of!(Counts, parity) == 0);
    assert!(core::mem::offset_of!(Counts, entered) == 8);
    assert!(core::mem::offset_of!(Counts, left) == 8 + TO_LEFT);
};

impl Counts {
    #[cfg(not(loom))]
    pub(super) const fn new(parity: Parity) -> Self {
        Self {
            parity: AtomicU64::new(parity.0),
            entered: [const { AtomicU64::new(0) }; 2],
            left: [const { AtomicU64::new(0) }; 2],
            owned: AtomicU64::new(0),
        }
    }

    #[cfg(loom)]
    pub(super) fn new(parity: Parity) -> Self {
        let none = || [AtomicU64::new(0), AtomicU64::new(0)];
        Self { parity: AtomicU64::new(parity.0), entered: none(), left: none(), owned: AtomicU64::new(0) }
    }

    /// Enters; `None` where the record is closed.
    pub(crate) fn enter(&self) -> Option<Parity> {
        loop {
            let parity = self.parity()?;
            delay::long();
            self.entered[parity.index()].fetch_add(1, SeqCst);
            full_fence(); // with the one in `flip`: the sum has this count, or the flip is seen here
            delay::point();
            if self.parity() == Some(parity) {
                return Some(parity);
            }
            delay::point();
            self.leave(parity);
        }
    }

    /// Leaves, whichever record was entered.
    pub(crate) fn leave(&self, parity: Parity) {
        // Release: what the reader read was read before; pairs with the Acquire in `left`.
        self.left[parity.index()].fetch_add(1, Release);
    }

    /// The parity of who comes now; `None` while closed.
    pub(crate) fn parity(&self) -> Option<Parity> {
        Parity::from_bytes(self.parity.load(SeqCst)) // SeqCst: the second look, with the store in `flip`
    }

    /// From now on readers come under `parity`. The caller fences before it adds up.
    pub(crate) fn flip(&self, parity: Parity) {
        self.parity.store(parity.0, SeqCst);
    }

    /// How many have left under `parity`.
    fn left(&self, parity: Parity) -> u64 {
        self.left[parity.index()].load(Acquire) // Acquire: pairs with the Release in `leave`
    }

    /// How many have entered under `parity`.
    fn entered(&self, parity: Parity) -> u64 {
        self.entered[parity.index()].load(Relaxed) // Relaxed: after the Acquire in `left`, and the fence after the flip
    }

    /// Notes one more, or one fewer, of the guards that may move between threads.
    pub(crate) fn note_owned(&self, more: bool) {
        // Relaxed: a hint for who waits. Below zero it wraps, as the sum does.
        self.owned.fetch_add(if more { 1 } else { u64::MAX }, Relaxed);
    }

    /// Such guards opened here less those dropped here.
    pub(crate) fn owned(&self) -> u64 {
        self.owned.load(Relaxed)
    }

    /// Forgets all readers. Only where no other thread runs: in the child of a fork.
    #[cfg(not(loom))]
    pub(crate) fn reset(&self) {
        self.entered.iter().chain(&self.left).chain([&self.owned]).for_each(|count| count.store(0, Relaxed));
    }
}

/// How many readers are left under a parity that has ended, over all records: exact when it is 0, or when nobody comes or goes.
pub(crate) fn remaining<'a>(records: impl Iterator<Item = &'a Counts> + Clone, parity: Parity) -> u64 {
    let left = records.clone().fold(0u64, |sum, record| sum.wrapping_add(record.left(parity)));
    delay::point();
    let entered = records.fold(0u64, |sum, record| sum.wrapping_add(record.entered(parity)));
    entered.wrapping_sub(left)
}

#[cfg(all(test, loom))]
mod model;
