//! A global allocator with per-CPU slab caches (work in progress).
use std::alloc::{GlobalAlloc, Layout, System};

/// The allocator.
pub struct GraceAlloc;

// SAFETY: forwards to the system allocator.
unsafe impl GlobalAlloc for GraceAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}
