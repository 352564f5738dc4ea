//! Blocks with an alignment.

use crate::block::{self, fail, or_errno};
use core::ffi::{c_int, c_void};

/// A block aligned to `align`, a power of two.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn memalign(align: usize, size: usize) -> *mut c_void {
    if align.is_power_of_two() { or_errno(block::new(size, align)) } else { fail(libc::EINVAL) }
}

/// [`memalign`] by its standard name. The size need not be a multiple of the alignment.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn aligned_alloc(align: usize, size: usize) -> *mut c_void {
    memalign(align, size)
}

/// [`memalign`] that answers by its result and leaves `errno` alone. The alignment is also a multiple of a pointer's size.
///
/// # Safety
/// - `place` may be written. On an error it is not.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, align: usize, size: usize) -> c_int {
    if !align.is_power_of_two() || align < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    let block = block::new(size, align);
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: handed on to the caller.
    unsafe { place.write(block) };
    0
}

/// A block aligned to a page.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn valloc(size: usize) -> *mut c_void {
    memalign(page_bytes(), size)
}

/// Whole pages, at least one.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pvalloc(size: usize) -> *mut c_void {
    match size.max(1).checked_next_multiple_of(page_bytes()) {
        Some(bytes) => valloc(bytes),
        None => fail(libc::ENOMEM),
    }
}

fn page_bytes() -> usize {
    // SAFETY: asks for a number; the C library has it from the kernel.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    bytes.cast_unsigned() as usize
}
