//! Deferred frees from the outside: what comes back, when, and what the statistics say.

use gracealloc::{GraceAlloc, barrier, deferred_free, deferred_free_bulk, stats};
use std::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the layout has a size.
    unsafe { GraceAlloc.alloc(layout) }
}

#[test]
fn a_barrier_brings_everything_back() {
    for size in [16, 64, 1000, 32 << 10, 100_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let objects: Vec<_> = (0..1000).map(|_| alloc(layout)).collect();
        // SAFETY: nobody else has seen them.
        unsafe { deferred_free_bulk(&objects, layout) };
        assert!(stats().deferred_objects > 0);
        barrier();
        assert_eq!(stats().deferred_objects, 0, "{}", stats());
        assert_eq!(stats().deferred_bytes, 0, "{}", stats());
    }
}
