//! `malloc`, `calloc`, `free`.

use crate::block::{self, ALIGN, fail, or_errno};
use core::ffi::c_void;
use gracealloc::GraceAlloc;

/// A block of `size` bytes, aligned to 16; of size 0 one that is no other's.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc(size: usize) -> *mut c_void {
    or_errno(block::new(size, ALIGN))
}

/// A zeroed block for `count` elements; null if their size overflows.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        Some(bytes) => or_errno(block::zeroed(bytes)),
        None => fail(libc::ENOMEM),
    }
}

/// Gives a block back; null is permitted. `errno` stays.
///
/// # Safety
/// - `ptr` is null or a block of this allocator that is in use, and nobody uses it any more.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(ptr: *mut c_void) {
    // SAFETY: handed on to the caller.
    unsafe { GraceAlloc.dealloc_unsized(ptr.cast()) }
}

/// `free` by the name that old programs know.
///
/// # Safety
/// - As for [`free`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cfree(ptr: *mut c_void) {
    // SAFETY: handed on to the caller.
    unsafe { free(ptr) }
}
