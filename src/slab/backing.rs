//! The allocator underneath: jemalloc, or the system's without that feature.
//!
//! It is called only in preemptible or reader context, with the thread's context count raised. It may be called with
//! our locks held (its locks come after ours, in fork too), and never calls us.

use core::alloc::{GlobalAlloc, Layout};

#[cfg(all(feature = "jemalloc", not(miri)))]
static BACKING: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
#[cfg(any(not(feature = "jemalloc"), miri))]
static BACKING: std::alloc::System = std::alloc::System;

const IS_JEMALLOC: bool = cfg!(all(feature = "jemalloc", not(miri)));

/// Allocates a large object; null without memory.
pub(super) fn alloc(layout: Layout, zeroed: bool) -> *mut u8 {
    // SAFETY: large layouts have a size; an over-aligned one of size 0 never gets here.
    unsafe { if zeroed { BACKING.alloc_zeroed(layout) } else { BACKING.alloc(layout) } }
}

/// Gives a large object back.
///
/// # Safety
/// - It came from [`alloc`] or [`realloc`] with this layout and is not used any more.
pub(super) unsafe fn dealloc(ptr: *mut u8, layout: Layout) {
    // SAFETY: handed on to the caller.
    unsafe { BACKING.dealloc(ptr, layout) }
}

/// Grows or shrinks a large object; null without memory, and then it is as before.
///
/// # Safety
/// - As for [`dealloc`]; `new_size` is not zero and fits a `Layout` of this alignment.
pub(super) unsafe fn realloc(ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: handed on to the caller.
    unsafe { BACKING.realloc(ptr, layout, new_size) }
}

/// Allocates a block that reads as zero where the answer says so; null without memory.
pub(super) fn alloc_block(layout: Layout) -> (*mut u8, bool) {
    // jemalloc knows which of its pages are fresh; the system allocator's wrapper would clear, and so touch, them all.
    (alloc(layout, IS_JEMALLOC), IS_JEMALLOC)
}

/// Brings the backing to life, so that what it registers (its fork handlers) comes before what we register.
pub(super) fn touch() {
    let layout = Layout::new::<u64>();
    let ptr = alloc(layout, false);
    if !ptr.is_null() {
        // SAFETY: just allocated with this layout.
        unsafe { dealloc(ptr, layout) };
    }
}
