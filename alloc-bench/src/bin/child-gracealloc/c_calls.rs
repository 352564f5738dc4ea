//! gracealloc by the calls of C, as the C library in `integration/preload` has them. That library cannot be linked here: its
//! `malloc` would be the whole child's.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

use alloc_bench::c_calls::CCalls;
use gracealloc::GraceAlloc;

pub(crate) const C: CCalls = CCalls { malloc, free, free_sized, realloc };

extern "C" fn malloc(size: usize) -> *mut c_void {
    match Layout::from_size_align(size.max(1), 16) {
        // SAFETY: the layout has a size.
        Ok(layout) => unsafe { GraceAlloc.alloc(layout).cast() },
        Err(_) => std::ptr::null_mut(),
    }
}

unsafe extern "C" fn free(ptr: *mut c_void) {
    // SAFETY: by contract, a block of ours or null.
    unsafe { GraceAlloc.dealloc_unsized(ptr.cast()) }
}

unsafe extern "C" fn free_sized(ptr: *mut c_void, size: usize) {
    if !ptr.is_null() {
        // SAFETY: by contract, a block of ours of that size.
        unsafe { GraceAlloc.dealloc_sized(ptr.cast(), size.max(1)) }
    }
}

unsafe extern "C" fn realloc(ptr: *mut c_void, size: usize) -> *mut c_void {
    if ptr.is_null() {
        return malloc(size);
    }
    // SAFETY: by contract, a block of ours; the workloads never ask for size 0.
    unsafe { GraceAlloc.realloc_unsized(ptr.cast(), size).cast() }
}
