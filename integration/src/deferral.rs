//! Blocks that are deferred, and what is pending of them.

use std::alloc::Layout;
use std::thread;
use std::time::{Duration, Instant};

use crate::{Block, View, fatal, require};

/// Allocates a block and defers it; what readers from before still see of it.
pub fn defer(layout: Layout, id: u64) -> View {
    let block = Block::new(layout, id).unwrap_or_else(|| fatal!("null for {layout:?}"));
    let view = block.view();
    // SAFETY: the block ends here; who looks at it is a reader.
    block.free_by(|start, layout| unsafe { gracealloc::deferred_free(start, layout) });
    view
}

/// Objects that wait for a grace period, marked ones too.
#[must_use]
pub fn pending() -> u64 {
    let stats = gracealloc::stats();
    stats.deferred_objects + stats.marked_objects
}

/// Ends the process with a message unless so many objects are pending within `limit`. What the worker has in hand is in no
/// figure for a moment, so this asks again and again.
pub fn all_pending(objects: u64, limit: Duration) {
    let start = Instant::now();
    while pending() != objects {
        require!(
            start.elapsed() < limit,
            "{} objects are pending and not {objects}: {:?}",
            pending(),
            gracealloc::stats()
        );
        thread::yield_now();
    }
}
