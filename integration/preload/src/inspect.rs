//! What a block holds, and what the heap does.

use core::ffi::{c_int, c_void};
use std::io::{self, Write};

/// The bytes that may be used at `ptr`, which is at least what was asked for; 0 for null.
///
/// # Safety
/// - `ptr` is null or a block of this allocator that is in use.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn malloc_usable_size(ptr: *mut c_void) -> usize {
    if ptr.is_null() {
        return 0;
    }
    let complaint = "malloc_usable_size of a pointer that is not an object";
    gracealloc::usable_size(ptr.cast()).unwrap_or_else(|| gracealloc::fatal(complaint, Some(ptr.cast())))
}

/// Gives back what is cached and unused; 1 if that was anything. How much stays is not for the caller to say.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc_trim(_keep: usize) -> c_int {
    (gracealloc::trim() > 0).into()
}

/// Prints the heap's statistics on standard error.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gracealloc_stats_print() {
    let _ = writeln!(io::stderr(), "{}", gracealloc::stats());
}
