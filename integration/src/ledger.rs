//! Which object is live at which address, kept out of line.
//!
//! A program enters each object after `alloc` and strikes it out before `dealloc`. An address handed out twice while
//! live meets an entry that is still there; a lost or torn free meets none, or another object's.
//!
//! ```text
//! address   | root: 21 bits | leaf: 24 bits | 3 bits |
//!                  |               |
//!            AtomicPtr ---> AtomicU64: id of the live object, 0 if none
//! ```
//!
//! **Invariant:** no lock and no heap, so that it can be used in a signal handler. Leaves are mapped on demand and
//! never unmapped. Objects must lie in different 8-byte granules, as those of every known allocator do.

use std::io;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicPtr, AtomicU64};

use crate::{fatal, os};

const GRANULE_BITS: u32 = 3;
const LEAF_BITS: u32 = 24;
const ROOT_BITS: u32 = 48 - LEAF_BITS - GRANULE_BITS;

type Leaf = [AtomicU64; 1 << LEAF_BITS];
type Root = [AtomicPtr<Leaf>; 1 << ROOT_BITS];

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    root: &'static Root,
}

impl Ledger {
    /// An empty ledger.
    ///
    /// # Errors
    /// When the address space is exhausted.
    pub fn new() -> io::Result<Self> {
        let root = os::map(size_of::<Root>())?;
        // SAFETY: the mapping is as large, zeroed (null pointers), page-aligned and never unmapped.
        let root = unsafe { root.cast::<Root>().as_ref() };
        Ok(Self { root })
    }

    /// Enters the live object `id`, not 0, at `address`.
    pub fn enter(&self, address: usize, id: u64) {
        // Relaxed: a read-modify-write sees the newest entry; the order against the entry's former owner is the
        // allocator's to give.
        if let Err(other) = self.cell(address).compare_exchange(0, id, Relaxed, Relaxed) {
            fatal!("{address:#x} handed out to object {id} while object {other} lives there");
        }
    }

    /// Strikes out the object `id` at `address`.
    pub fn strike(&self, address: usize, id: u64) {
        // Relaxed: as in `enter`.
        if let Err(other) = self.cell(address).compare_exchange(id, 0, Relaxed, Relaxed) {
            fatal!("object {id} at {address:#x} is freed, but the ledger has object {other} there");
        }
    }

    fn cell(&self, address: usize) -> &'static AtomicU64 {
        let granule = address >> GRANULE_BITS;
        let slot = &self.root[granule >> LEAF_BITS];
        // Acquire: the leaf's zeroes were mapped before `new_leaf` published it.
        let leaf = match slot.load(Acquire) {
            leaf if leaf.is_null() => new_leaf(slot),
            leaf => leaf,
        };
        // SAFETY: leaves are mapped, aligned and live for ever.
        unsafe { &(*leaf)[granule & ((1 << LEAF_BITS) - 1)] }
    }
}

/// Maps a leaf; of two that come at once the later one's stays unused (it costs address space only).
#[cold]
fn new_leaf(slot: &AtomicPtr<Leaf>) -> *mut Leaf {
    let Ok(leaf) = os::map(size_of::<Leaf>()) else { fatal!("no address space left for the ledger") };
    let leaf = leaf.cast().as_ptr();
    slot.compare_exchange(std::ptr::null_mut(), leaf, AcqRel, Acquire).map_or_else(|first| first, |_| leaf)
}

#[cfg(test)]
mod tests {
    use super::Ledger;

    #[test]
    fn an_address_can_be_used_again_after_a_free() {
        let ledger = Ledger::new().expect("address space");
        for id in 1..4 {
            ledger.enter(0x7fff_0000_1238, id);
            ledger.enter(0x1000, id);
            ledger.strike(0x7fff_0000_1238, id);
            ledger.strike(0x1000, id);
        }
    }
}
