//! Frees by who knows the size. One without a special alignment spares the look-up. The others do not say which class the block
//! has until alignment and size are put together, which costs as much.

use crate::plain::free;
use core::ffi::c_void;
use gracealloc::GraceAlloc;

/// [`free`] of a block of `malloc`, `calloc` or `realloc` for exactly `size` bytes. A wrong size is found out later if at all.
///
/// # Safety
/// - As for [`free`], and the size is the one that was asked for.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free_sized(ptr: *mut c_void, size: usize) {
    if !ptr.is_null() {
        // SAFETY: handed on to the caller; blocks of size 0 have one byte.
        unsafe { GraceAlloc.dealloc_sized(ptr.cast(), size.max(1)) }
    }
}

/// [`free`] of a block of `aligned_alloc`.
///
/// # Safety
/// - As for [`free`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free_aligned_sized(ptr: *mut c_void, _align: usize, _size: usize) {
    // SAFETY: handed on to the caller.
    unsafe { free(ptr) }
}
