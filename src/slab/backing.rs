//! The allocator underneath: jemalloc, or the system's without that feature.
//!
//! It is called only in preemptible or reader context, with the thread's context count raised. It may be called with
//! our locks held (its locks come after ours, in fork too), and never calls us.
//!
//! A program that needs few megabytes never brings it to life: segments come from `mmap` until the first large object
//! or until the mapped ones are half used. That saves such a program the backing's own start-up memory.

use crate::platform::memory;
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

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

/// Set once the backing is alive and the fork handlers stand in the right order.
static READY: AtomicBool = AtomicBool::new(false);

/// Whether [`set_ready`] was called.
pub(crate) fn is_ready() -> bool {
    READY.load(Acquire) // Acquire: pairs with `set_ready`
}

/// From now on segments come from the backing.
pub(crate) fn set_ready() {
    READY.store(true, Release);
}

/// A block for a segment.
pub(super) struct Block {
    pub(super) base: *mut u8,
    /// It reads as zero.
    pub(super) zero: bool,
    /// It came from the system and not from the backing.
    pub(super) mapped: bool,
}

/// Gets a block for a segment; `None` without memory.
pub(super) fn alloc_block(layout: Layout) -> Option<Block> {
    if !is_ready() {
        let base = memory::map_aligned(layout)?.as_ptr();
        return Some(Block { base, zero: true, mapped: true });
    }
    // jemalloc knows which of its pages are fresh; the system allocator's wrapper would clear, and so touch, them all.
    let base = alloc(layout, IS_JEMALLOC);
    (!base.is_null()).then_some(Block { base, zero: IS_JEMALLOC, mapped: false })
}

/// Gives a block back.
///
/// # Safety
/// - `base` and `mapped` are of a [`Block`] with this layout that is not used any more.
pub(super) unsafe fn dealloc_block(base: *mut u8, mapped: bool, layout: Layout) {
    // SAFETY: handed on to the caller.
    unsafe { if mapped { memory::unmap(base, layout) } else { dealloc(base, layout) } }
}

/// Brings the backing to life, so that what it registers (its fork handlers) comes before what we register then.
pub(crate) fn touch() {
    let layout = Layout::new::<u64>();
    let ptr = alloc(layout, false);
    if !ptr.is_null() {
        // SAFETY: just allocated with this layout.
        unsafe { dealloc(ptr, layout) };
    }
}
