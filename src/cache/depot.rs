//! The depot: full magazines by class, and empty ones, in one shard for each group of CPUs.
//!
//! ```text
//!   shard of CPUs 0..g     full[1] full[2] ... full[72]   empty
//!   shard of CPUs g..2g    full[1] ...                    empty        each a tagged stack and a count
//! ```
//!
//! A magazine goes to the shard of the CPU whose slot it came from (its *home*); who finds the own shard without one
//! takes from the next that has one. So a producer and a consumer on different CPUs meet here with one exchange for each
//! magazine, and nothing shared is written while they stay apart.
//!
//! `full` stacks hold whatever has objects, also half-full magazines that lost their slot. They are bounded softly: what
//! comes on top of the bound is emptied into the spans by callers that may take their locks.
//!
//! The stock of empty magazines is the reserve as well: callers that may block take from it only what is above the
//! low-water mark and make new ones otherwise; atomic callers take all of it.

use super::magazines::{ByNumber, Hand};
use crate::platform::{memory, slots};
use crate::size_class::{CLASSES, SizeClass};
use crate::tagged_stack::TaggedStack;
use crate::tunables;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use once_cell::race::OnceRef;

/// More shards than this cost more in stealing than they save in contention.
const MOST_SHARDS: u32 = 64;

/// A stack of magazines, with about how many there are and what they hold together.
struct Stock {
    stack: TaggedStack,
    /// Magazines in the upper half, objects in the lower: one update for both.
    counts: AtomicU64,
}

impl Stock {
    fn put(&self, magazine: Hand) {
        // Before the push: the counts may be high for a moment, never below zero.
        self.counts.fetch_add(Self::counts_of(&magazine), Relaxed);
        self.stack.push(&ByNumber, magazine.index());
    }

    fn take(&self) -> Option<Hand> {
        if self.stack.is_empty() {
            return None; // without writing: a thief looks at many shards
        }
        let number = self.stack.pop(&ByNumber)?;
        // SAFETY: popped, so ours.
        let magazine = unsafe { Hand::by_number(number) };
        self.counts.fetch_sub(Self::counts_of(&magazine), Relaxed);
        Some(magazine)
    }

    fn counts_of(magazine: &Hand) -> u64 {
        (1 << 32) + u64::from(magazine.count())
    }

    fn count(&self) -> u32 {
        (self.counts.load(Relaxed) >> 32) as u32
    }

    fn objects(&self) -> u64 {
        self.counts.load(Relaxed) & u64::from(u32::MAX)
    }
}

#[repr(align(128))]
struct Shard {
    full: [Stock; CLASSES],
    empty: Stock,
}

/// The depot of the process: mapped once, all zero is a depot with nothing in it.
pub(super) struct Depot {
    shards: &'static [Shard],
    /// Cells that share a shard.
    group: u32,
}

static DEPOT: OnceRef<'static, Depot> = OnceRef::new();

/// Sets the depot up for as many cells as the slots have. False without memory. Threads may race through here.
pub(super) fn init() -> bool {
    if DEPOT.get().is_some() {
        return true;
    }
    let group = slots::cells().div_ceil(MOST_SHARDS);
    let n = slots::cells().div_ceil(group) as usize;
    let Some(at) = memory::for_ever(n * size_of::<Shard>() + size_of::<Depot>()) else { return false };
    // SAFETY: zeroed memory of that size, aligned as a shard is; stacks and counts may be zero. The description
    // stands behind the shards, whose size is a multiple of its alignment.
    let depot = unsafe {
        let shards = core::slice::from_raw_parts(at.cast::<Shard>().as_ptr(), n);
        let depot = at.as_ptr().add(n * size_of::<Shard>()).cast::<Depot>();
        depot.write(Depot { shards, group });
        &*depot
    };
    let _ = DEPOT.set(depot); // lost the race: the winner's depot serves
    true
}

/// The depot, once [`init`] has succeeded.
pub(super) fn depot() -> Option<&'static Depot> {
    DEPOT.get()
}

impl Depot {
    fn shard_of(&self, cell: u32) -> usize {
        ((cell / self.group) as usize).min(self.shards.len() - 1)
    }

    /// The own shard first, then the others from there on.
    fn nearest(&self) -> impl Iterator<Item = &'static Shard> {
        let (before, from) = self.shards.split_at(self.shard_of(slots::cell()));
        from.iter().chain(before)
    }

    /// Stores a magazine that has objects at its home. Returns it instead when that is above the bound and `may_flush`.
    pub(super) fn put_full(&self, class: SizeClass, magazine: Hand, may_flush: bool) -> Result<(), Hand> {
        let stock = &self.shards[self.shard_of(magazine.home())].full[class.index()];
        if may_flush && stock.count() >= bound(class, magazine.capacity()) {
            return Err(magazine);
        }
        stock.put(magazine);
        Ok(())
    }

    /// Takes a magazine that has objects of `class`.
    pub(super) fn take_full(&self, class: SizeClass) -> Option<Hand> {
        self.nearest().find_map(|shard| shard.full[class.index()].take())
    }

    /// Stores an empty magazine at its home; a short one retires.
    pub(super) fn put_empty(&self, magazine: Hand) {
        debug_assert!(magazine.is_empty());
        if magazine.is_short() {
            return magazine.retire();
        }
        self.shards[self.shard_of(magazine.home())].empty.put(magazine);
    }

    /// Takes an empty magazine: with `reserve` any, else one above the low-water mark.
    pub(super) fn take_empty(&self, reserve: bool) -> Option<Hand> {
        let keep = if reserve { 0 } else { self.low_water() };
        self.nearest().find_map(|shard| if shard.empty.count() > keep { shard.empty.take() } else { None })
    }

    /// Takes an empty magazine of a shard that has more than its low-water mark and a cushion, of any.
    pub(super) fn take_surplus(&self, cushion: u32) -> Option<Hand> {
        let keep = self.low_water() + cushion;
        self.shards.iter().find_map(|shard| if shard.empty.count() > keep { shard.empty.take() } else { None })
    }

    /// How many such magazines there are.
    pub(super) fn count_surplus(&self, cushion: u32) -> u32 {
        let keep = self.low_water() + cushion;
        self.shards.iter().map(|shard| shard.empty.count().saturating_sub(keep)).sum()
    }

    /// Empty magazines that a shard keeps for atomic callers.
    fn low_water(&self) -> u32 {
        tunables::RESERVE_MAGAZINES.load(Relaxed).saturating_mul(self.group)
    }

    /// Whether the own shard has fewer empty magazines than its low-water mark.
    pub(super) fn is_in_want(&self) -> bool {
        self.shards[self.shard_of(slots::cell())].empty.count() < self.low_water()
    }

    /// A cell whose shard has fewer empty magazines than its low-water mark.
    pub(super) fn cell_in_want(&self) -> Option<u32> {
        let want = self.low_water();
        self.shards.iter().position(|shard| shard.empty.count() < want).map(|n| n as u32 * self.group)
    }

    /// Magazines with objects of `class`, in all shards.
    pub(super) fn count_full(&self, class: SizeClass) -> u32 {
        self.shards.iter().map(|shard| shard.full[class.index()].count()).sum()
    }

    /// Objects of `class` in them.
    pub(super) fn count_objects(&self, class: SizeClass) -> u64 {
        self.shards.iter().map(|shard| shard.full[class.index()].objects()).sum()
    }

    /// Empty magazines, in all shards.
    pub(super) fn count_empty(&self) -> u32 {
        self.shards.iter().map(|shard| shard.empty.count()).sum()
    }
}

/// Magazines of a class that a shard keeps, given what one holds.
fn bound(class: SizeClass, capacity: u32) -> u32 {
    let bytes = class.bytes() * (capacity as usize).max(1);
    (tunables::DEPOT_BYTES.load(Relaxed) / bytes).max(2) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A depot of its own, with `n` shards of one cell each.
    fn depot_of(n: usize) -> Depot {
        let at = memory::map(n * size_of::<Shard>()).unwrap();
        // SAFETY: zero pages of that size and a page's alignment; stacks and counts may be zero.
        Depot { shards: unsafe { core::slice::from_raw_parts(at.cast().as_ptr(), n) }, group: 1 }
    }

    fn magazine(home: u32, objects: usize) -> Hand {
        let magazine = Hand::make().unwrap();
        magazine.set_home(home);
        magazine.set_capacity(4);
        (1..=objects).for_each(|n| assert!(magazine.push(core::ptr::without_provenance_mut(16 * n))));
        magazine
    }

    fn class() -> SizeClass {
        SizeClass::all().last().unwrap()
    }

    #[test]
    fn a_magazine_goes_home_and_others_steal_it_there() {
        let depot = depot_of(4);
        assert!(depot.put_full(class(), magazine(2, 3), false).is_ok());
        let counts: Vec<_> = depot.shards.iter().map(|shard| shard.full[class().index()].count()).collect();
        assert_eq!(counts, [0, 0, 1, 0]);
        assert_eq!((depot.count_full(class()), depot.count_objects(class())), (1, 3));
        let taken = depot.take_full(class()).expect("whoever looks, wherever it stands");
        assert_eq!((taken.home(), taken.count()), (2, 3));
        assert!(depot.take_full(class()).is_none());
        assert_eq!(depot.count_objects(class()), 0);
    }

    #[test]
    fn above_the_bound_only_those_who_can_flush_are_refused() {
        let depot = depot_of(1);
        for _ in 0..bound(class(), 4) {
            assert!(depot.put_full(class(), magazine(0, 1), true).is_ok());
        }
        let refused = depot.put_full(class(), magazine(0, 1), true).expect_err("the shard is full");
        assert!(depot.put_full(class(), refused, false).is_ok(), "nowhere else to go in atomic context");
    }

    #[test]
    fn only_atomic_callers_get_the_last_empty_magazines() {
        let depot = depot_of(2);
        assert_eq!(depot.cell_in_want(), Some(0));
        (0..depot.low_water()).for_each(|_| depot.put_empty(magazine(0, 0)));
        assert_eq!(depot.cell_in_want(), Some(1), "each shard has its own mark");
        assert!(depot.take_empty(false).is_none());
        depot.put_empty(magazine(0, 0));
        assert!(depot.take_empty(false).is_some(), "one above the mark");
        assert!((0..depot.low_water()).all(|_| depot.take_empty(true).is_some()));
        assert!(depot.take_empty(true).is_none());
        assert_eq!(depot.count_empty(), 0);
    }
}
