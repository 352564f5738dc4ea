//! Cells in which threads and signal handlers hand blocks over.
//!
//! ```text
//! EMPTY --put--> BUSY --> FULL --take--> BUSY --> EMPTY
//! ```
//!
//! **Invariant:** nobody waits. Whoever meets BUSY (a handler may have interrupted the very thread that made it so)
//! gives up, and keeps or gets nothing.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::AtomicU8;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::Block;

const EMPTY: u8 = 0;
const BUSY: u8 = 1;
const FULL: u8 = 2;

#[derive(Debug)]
struct Cell {
    state: AtomicU8,
    block: UnsafeCell<MaybeUninit<Block>>,
}

impl Cell {
    const fn new() -> Self {
        Self { state: AtomicU8::new(EMPTY), block: UnsafeCell::new(MaybeUninit::uninit()) }
    }
}

/// `N` cells, each for one block.
#[derive(Debug)]
pub struct Exchange<const N: usize> {
    cells: [Cell; N],
}

// SAFETY: a block is read and written only by the one who made its cell BUSY; blocks are `Send`.
unsafe impl<const N: usize> Sync for Exchange<N> {}

impl<const N: usize> Exchange<N> {
    /// Empty cells.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N > 0) }
        Self { cells: [const { Cell::new() }; N] }
    }

    /// Leaves a block in cell `index` (modulo `N`).
    ///
    /// # Errors
    /// The block, where the cell is not empty.
    pub fn put(&self, index: usize, block: Block) -> Result<(), Block> {
        let cell = &self.cells[index % N];
        // Acquire: the last taker has read the cell (its Release of EMPTY).
        if cell.state.compare_exchange(EMPTY, BUSY, Acquire, Relaxed).is_err() {
            return Err(block);
        }
        // SAFETY: BUSY is ours.
        unsafe { (*cell.block.get()).write(block) };
        // Release: whoever takes sees the block.
        cell.state.store(FULL, Release);
        Ok(())
    }

    /// Takes the block out of cell `index` (modulo `N`), if there is one.
    #[must_use]
    pub fn take(&self, index: usize) -> Option<Block> {
        let cell = &self.cells[index % N];
        // Acquire: sees the block that `put` wrote (its Release of FULL).
        cell.state.compare_exchange(FULL, BUSY, Acquire, Relaxed).ok()?;
        // SAFETY: BUSY is ours, and the cell was FULL.
        let block = unsafe { (*cell.block.get()).assume_init_read() };
        // Release: the next `put` writes after our read.
        cell.state.store(EMPTY, Release);
        Some(block)
    }

    /// Takes what is there out of all cells, in turn.
    pub fn drain(&self) -> impl Iterator<Item = Block> {
        (0..N).filter_map(|index| self.take(index))
    }
}

impl<const N: usize> Default for Exchange<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::Layout;

    #[test]
    fn a_cell_holds_one_block() {
        let exchange = Exchange::<2>::new();
        let block = |id| Block::new(Layout::new::<u64>(), id).expect("memory");
        exchange.put(0, block(1)).expect("empty");
        exchange.put(2, block(2)).expect_err("full").free();
        assert_eq!(exchange.take(4).map(|block| (block.id(), block.free()).0), Some(1));
        assert!(exchange.drain().next().is_none());
    }
}
