//! Blocks that are deferred, and what is pending of them.

use std::alloc::Layout;

use crate::{Block, View, fatal};

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
