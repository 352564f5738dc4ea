//! The system allocator.

use crate::platform::memory;
use core::alloc::{GlobalAlloc, Layout};
use std::alloc::System;

/// Allocates; null without memory.
pub(super) fn alloc(layout: Layout, zeroed: bool) -> *mut u8 {
    // SAFETY: the size is not zero.
    unsafe { if zeroed { System.alloc_zeroed(layout) } else { System.alloc(layout) } }
}

/// # Safety
/// - As for `GlobalAlloc::dealloc`.
pub(super) unsafe fn dealloc(ptr: *mut u8, layout: Layout) {
    // SAFETY: handed on to the caller.
    unsafe { System.dealloc(ptr, layout) }
}

/// # Safety
/// - As for `GlobalAlloc::realloc`.
pub(super) unsafe fn realloc(ptr: *mut u8, layout: Layout, new: Layout) -> *mut u8 {
    // SAFETY: handed on to the caller.
    unsafe { System.realloc(ptr, layout, new.size()) }
}

/// Objects may grow or move their pages in `realloc`.
pub(super) const COPIES: bool = false;

/// There is nothing to ask.
///
/// # Safety
/// - None; `unsafe` for the sake of the signature.
pub(super) unsafe fn grow(_ptr: *mut u8, _layout: Layout, _new_size: usize) -> bool {
    false
}

/// Gives what it keeps unused back to the system, where that can be asked for.
pub(crate) fn purge() {
    memory::trim_library();
}

/// Nothing to do: C libraries see to their allocator inside of `fork`, and not with handlers.
pub(crate) fn touch() {}
