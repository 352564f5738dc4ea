//! An allocator as C programs call it: by functions that know no layout. All of them are called the same way, through a pointer,
//! which is what a call into a shared library is.

use std::ffi::c_void;

/// The functions of one allocator.
#[derive(Clone, Copy, Debug)]
pub struct CCalls {
    /// `malloc`.
    pub malloc: unsafe extern "C" fn(usize) -> *mut c_void,
    /// `free`.
    pub free: unsafe extern "C" fn(*mut c_void),
    /// `free_sized`, or what the allocator has instead.
    pub free_sized: unsafe extern "C" fn(*mut c_void, usize),
    /// `realloc`.
    pub realloc: unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void,
}

/// The C library's, which has no use for a size.
pub const SYSTEM: CCalls =
    CCalls { malloc: libc::malloc, free: libc::free, free_sized: ignoring_the_size, realloc: libc::realloc };

unsafe extern "C" fn ignoring_the_size(ptr: *mut c_void, _size: usize) {
    // SAFETY: by contract, as for `free`.
    unsafe { libc::free(ptr) }
}
