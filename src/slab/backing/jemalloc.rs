//! jemalloc.
//!
//! A thread gets its arena at its first allocation, and jemalloc 5.3 does not survive it when there is no memory for
//! one: a request for a huge object then follows a null pointer. So a thread first asks whether it has an arena, and
//! until it has, its objects come from arena 0, which always exists.

use crate::platform::thread_cell::thread_cell;
use crate::platform::weak::weak_text;
use core::alloc::{GlobalAlloc, Layout};
use core::ffi::{CStr, c_int};
use core::ptr;
use tikv_jemalloc_sys as ffi;
use tikv_jemallocator::Jemalloc;

// jemalloc adds a page to each large object, and begins at a line of it by chance, so that objects of one size do not meet
// in the same cache sets. Without it two neighbours make exactly one of twice the size, which is what vectors grow to, and
// the page is not touched. The environment and a program's own variable of this name prevail.
weak_text!("_rjem_malloc_conf", "cache_oblivious:false");

thread_cell! {
    static HAS_ARENA: bool = false, "gracealloc_has_arena";
}

/// Flags of `mallocx`: arena 0, and no thread cache (which belongs to an arena).
const ARENA_0: c_int = ffi::MALLOCX_ARENA(0) | ffi::MALLOCX_TCACHE_NONE;

/// Whether this thread has an arena, or got one now.
fn has_arena() -> bool {
    HAS_ARENA.get() || {
        let (mut arena, mut size) = (0u32, size_of::<u32>());
        // SAFETY: reads one `unsigned`, by jemalloc's manual; it answers EAGAIN where no arena can be made.
        let answer =
            unsafe { ffi::mallctl(c"thread.arena".as_ptr(), (&raw mut arena).cast(), &mut size, ptr::null_mut(), 0) };
        HAS_ARENA.set(answer == 0);
        answer == 0
    }
}

/// Brings jemalloc to life, so that what it registers (its fork handlers) comes before what we register. Asking for a size does
/// that, and no more: no arena for this thread yet, none of its tables.
pub(crate) fn touch() {
    // SAFETY: computes a number.
    unsafe { ffi::nallocx(1, 0) };
}

/// Allocates; null without memory.
pub(super) fn alloc(layout: Layout, zeroed: bool) -> *mut u8 {
    if !has_arena() {
        let zero = if zeroed { ffi::MALLOCX_ZERO } else { 0 };
        // SAFETY: the size is not zero.
        return unsafe { ffi::mallocx(layout.size(), ARENA_0 | ffi::MALLOCX_ALIGN(layout.align()) | zero) }.cast();
    }
    // SAFETY: the size is not zero.
    unsafe { if zeroed { Jemalloc.alloc_zeroed(layout) } else { Jemalloc.alloc(layout) } }
}

/// # Safety
/// - As for `GlobalAlloc::dealloc`.
pub(super) unsafe fn dealloc(ptr: *mut u8, layout: Layout) {
    // SAFETY: handed on to the caller.
    unsafe { Jemalloc.dealloc(ptr, layout) }
}

/// # Safety
/// - As for `GlobalAlloc::realloc`, but that the new layout may have a larger alignment.
pub(super) unsafe fn realloc(ptr: *mut u8, _layout: Layout, new: Layout) -> *mut u8 {
    let arena = if has_arena() { 0 } else { ARENA_0 };
    // SAFETY: handed on to the caller. The size is not zero.
    unsafe { ffi::rallocx(ptr.cast(), new.size(), arena | ffi::MALLOCX_ALIGN(new.align())) }.cast()
}

/// `realloc` moves an object by copying it.
pub(super) const COPIES: bool = true;

/// Whether an object could grow where it is, and has.
///
/// # Safety
/// - As for `GlobalAlloc::realloc`.
pub(super) unsafe fn grow(ptr: *mut u8, layout: Layout, new_size: usize) -> bool {
    // SAFETY: handed on to the caller. What it returns is the size that the object has now.
    unsafe { ffi::xallocx(ptr.cast(), new_size, 0, ffi::MALLOCX_ALIGN(layout.align())) >= new_size }
}

/// Gives the pages of free memory in all arenas back to the system.
pub(crate) fn purge() {
    // MALLCTL_ARENAS_ALL is 4096.
    const ALL: &CStr = c"arena.4096.purge";
    // SAFETY: neither reads nor writes a value.
    unsafe { ffi::mallctl(ALL.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn our_options_are_jemallocs() {
        let (mut on, mut size) = (true, size_of::<bool>());
        // SAFETY: reads one `bool`, by jemalloc's manual.
        let answer = unsafe {
            ffi::mallctl(c"opt.cache_oblivious".as_ptr(), (&raw mut on).cast(), &mut size, ptr::null_mut(), 0)
        };
        assert_eq!((answer, on), (0, false));
    }
}
