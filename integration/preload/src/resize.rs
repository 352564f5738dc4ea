//! `realloc` and `reallocarray`.

use crate::block::{fail, or_errno};
use crate::plain::{free, malloc};
use core::ffi::c_void;
use core::ptr;
use gracealloc::GraceAlloc;

/// Resizes a block. Of null it makes a new one; to size 0 it frees, and returns null as glibc does. Where there is no memory the
/// block is as before.
///
/// # Safety
/// - As for [`free`], unless null is returned for a size that is not 0.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn realloc(ptr: *mut c_void, size: usize) -> *mut c_void {
    if ptr.is_null() {
        return malloc(size);
    }
    if size == 0 {
        // SAFETY: handed on to the caller.
        unsafe { free(ptr) };
        return ptr::null_mut();
    }
    // SAFETY: handed on to the caller; the size is not zero.
    or_errno(unsafe { GraceAlloc.realloc_unsized(ptr.cast(), size).cast() })
}

/// [`realloc`] to `count` elements; if their size overflows the block is as before.
///
/// # Safety
/// - As for [`realloc`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn reallocarray(ptr: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: handed on to the caller.
        Some(bytes) => unsafe { realloc(ptr, bytes) },
        None => fail(libc::ENOMEM),
    }
}
