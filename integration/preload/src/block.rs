//! A size and an alignment become a block. A block has at least one byte, so that those of size 0 are different from each other.

use core::ffi::c_void;
use core::ptr;
use gracealloc::GraceAlloc;
use std::alloc::{GlobalAlloc, Layout};

/// The alignment of blocks for which none is asked: what the ABI calls `max_align_t`, also where the size is smaller.
pub(crate) const ALIGN: usize = 16;

/// A block; null without memory, and where the size is more than any block can have.
#[inline(always)]
pub(crate) fn new(size: usize, align: usize) -> *mut c_void {
    match Layout::from_size_align(size.max(1), align) {
        // SAFETY: the layout has a size.
        Ok(layout) => unsafe { GraceAlloc.alloc(layout).cast() },
        Err(_) => ptr::null_mut(),
    }
}

/// As [`new`], of zeroes.
pub(crate) fn zeroed(size: usize) -> *mut c_void {
    match Layout::from_size_align(size.max(1), ALIGN) {
        // SAFETY: the layout has a size.
        Ok(layout) => unsafe { GraceAlloc.alloc_zeroed(layout).cast() },
        Err(_) => ptr::null_mut(),
    }
}

/// What functions that report by `errno` return: the block, or null with `ENOMEM`. Success leaves `errno` alone.
#[inline(always)]
pub(crate) fn or_errno(block: *mut c_void) -> *mut c_void {
    if block.is_null() { fail(libc::ENOMEM) } else { block }
}

/// Null, with the reason in `errno`.
#[cold]
pub(crate) fn fail(reason: i32) -> *mut c_void {
    // SAFETY: the address of this thread's own errno.
    unsafe { *libc::__errno_location() = reason };
    ptr::null_mut()
}
