//! What this layer counts: sums over the cells, taken when they are asked for.

use super::{budget, cells, drops, large, worker};
use crate::cache;
use crate::platform::slots;
use crate::size_class::SizeClass;
use crate::slab;
use crate::slow_path::SlowPath;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What waits, and what was done.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) large_objects: u64,
    pub(crate) large_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) pages_pending: u64,
    pub(crate) pages_recycled: u64,
    pub(crate) marks: u64,
    pub(crate) drops: u64,
    pub(crate) leaked_drops: u64,
    pub(crate) stall_reports: u64,
    pub(crate) budget: u64,
}

/// A look at the counters, each by itself.
pub(crate) fn counts() -> Counts {
    budget::look(&SlowPath::enter());
    let sum = |of: fn(&cells::Cell) -> &AtomicU64| cells::all().iter().map(|cell| of(cell).load(Relaxed)).sum::<u64>();
    let (sealed, recycled) = (sum(|cell| &cell.sealed), sum(|cell| &cell.recycled));
    Counts {
        large_objects: large::OBJECTS.load(Relaxed),
        large_bytes: large::BYTES.load(Relaxed),
        peak_bytes: budget::peak(),
        pages_pending: sealed.saturating_sub(recycled),
        pages_recycled: recycled,
        marks: slab::marks::DEFERRED.count(),
        drops: drops::pending(),
        leaked_drops: drops::LEAKED.load(Relaxed),
        stall_reports: worker::REPORTS.load(Relaxed),
        budget: budget::limit(),
    }
}

/// Objects of a class that wait in pages, open ones too.
pub(crate) fn pending_objects(class: SizeClass) -> u64 {
    let open = (0..slots::cells()).map(|cell| {
        let page = slots::peek_at(cell, cache::deferred_slot(class));
        // SAFETY: slots hold magazines, which are type-stable; the count is a hint.
        u64::from(unsafe { (*page).count() })
    });
    let queued = cells::all().iter().map(|cell| u64::from(cell.objects(class)));
    open.chain(queued).sum()
}
