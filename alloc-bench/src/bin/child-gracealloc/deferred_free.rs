//! Our own scheme: an object waits in a page of pointers, and the page comes back as the allocator's next full one.
//! Retiring takes no guard: whoever has unlinked an object need not be a reader.

use std::ptr::NonNull;

use alloc_bench::schemes::{Counters, DEFERRED_FREE, Expedites, Object, Readers, Scheme, UnderEpoch, Waits, layout};
use alloc_bench::workloads::source_index::table::{self, Table};
use crossbeam_epoch::{Guard, Shared};
use gracealloc::ReadGuard;

/// The scheme of [`gracealloc::deferred_free`].
#[derive(Debug, Default)]
pub(crate) struct DeferredFree;

impl Scheme for DeferredFree {
    const NAME: &'static str = DEFERRED_FREE;

    #[inline(always)]
    unsafe fn retire<const WORDS: usize>(&self, object: NonNull<Object<WORDS>>) {
        // SAFETY: by contract the object has this layout, came from the global allocator, and nobody can reach it.
        unsafe { gracealloc::deferred_free(object.as_ptr().cast(), layout::<WORDS>()) };
    }

    fn drain(&mut self) {
        gracealloc::barrier();
    }

    fn counters(&self) -> Option<Counters> {
        let stats = gracealloc::stats();
        Some(Counters {
            grace_periods: stats.grace_periods,
            peak_backlog_bytes: stats.deferred_peak_bytes,
            waiting_objects: stats.deferred_objects + stats.marked_objects,
        })
    }
}

impl Readers for DeferredFree {
    type Section<'a> = ReadGuard;

    #[inline(always)]
    fn enter(&self) -> ReadGuard {
        gracealloc::read()
    }
}

impl Waits for DeferredFree {
    fn synchronize(&self) {
        gracealloc::synchronize();
    }
}

impl Expedites for DeferredFree {
    fn synchronize_expedited(&self) {
        gracealloc::synchronize_expedited();
    }
}

impl UnderEpoch for DeferredFree {
    unsafe fn retire_table(&self, table: Shared<'_, Table>, _guard: &Guard) {
        // SAFETY: by contract a table.
        let (start, layout) = unsafe { table::allocation(table) };
        // SAFETY: allocated with this layout, flat, with nothing to drop, and found by no new reader; those that have it
        // are pinned in the default collector, which deferrals wait for.
        unsafe { gracealloc::deferred_free(start, layout) };
    }
}
