//! Blocks and ledger together: every allocation is entered, filled, checked, struck out and counted.

use std::alloc::Layout;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::{Block, Ledger};

/// The allocator under test, watched. Usable in signal handlers as far as the allocator is.
#[derive(Debug)]
pub struct Heap {
    ledger: Ledger,
    // Relaxed throughout: counts, which are read when the threads have been joined.
    ids: AtomicU64,
    live: AtomicU64,
    freed: AtomicU64,
    nulls: AtomicU64,
}

impl Heap {
    /// A heap without objects.
    ///
    /// # Errors
    /// When the address space is exhausted.
    pub fn new() -> io::Result<Self> {
        let count = || AtomicU64::new(0);
        Ok(Self { ledger: Ledger::new()?, ids: count(), live: count(), freed: count(), nulls: count() })
    }

    /// Allocates a block; null is counted.
    #[must_use]
    pub fn alloc(&self, layout: Layout) -> Option<Block> {
        self.enter(Block::new(layout, self.next_id()))
    }

    /// The same with `alloc_zeroed`.
    #[must_use]
    pub fn alloc_zeroed(&self, layout: Layout) -> Option<Block> {
        self.enter(Block::zeroed(layout, self.next_id()))
    }

    /// Ids begin with 1; those of failed allocations stay unused.
    fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed) + 1
    }

    fn enter(&self, block: Option<Block>) -> Option<Block> {
        match &block {
            Some(block) => {
                self.ledger.enter(block.address(), block.id());
                self.live.fetch_add(1, Relaxed);
            }
            None => _ = self.nulls.fetch_add(1, Relaxed),
        }
        block
    }

    /// Reallocates; after a null, which is counted, it is the old block.
    pub fn resize(&self, block: Block, size: usize) -> Block {
        self.ledger.strike(block.address(), block.id());
        let block = block.resized(size).unwrap_or_else(|block| {
            self.nulls.fetch_add(1, Relaxed);
            block
        });
        self.ledger.enter(block.address(), block.id());
        block
    }

    /// Verifies and frees.
    pub fn free(&self, block: Block) {
        self.ledger.strike(block.address(), block.id());
        self.live.fetch_sub(1, Relaxed);
        self.freed.fetch_add(1, Relaxed);
        block.free();
    }

    /// Objects that have not been freed.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.live.load(Relaxed)
    }

    /// How often the allocator returned null.
    #[must_use]
    pub fn nulls(&self) -> u64 {
        self.nulls.load(Relaxed)
    }

    /// Objects that were freed.
    #[must_use]
    pub fn freed(&self) -> u64 {
        self.freed.load(Relaxed)
    }
}
