//! jemalloc.
//!
//! A thread gets its arena at its first allocation, and jemalloc 5.3 does not survive it when there is no memory for
//! one: a request for a huge object then follows a null pointer. So a thread first asks whether it has an arena, and
//! until it has, its objects come from arena 0, which always exists.

mod huge_pages;

use crate::platform::{memory, weak::weak_text};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ffi::{CStr, c_int};
use core::ptr;
use tikv_jemalloc_sys as ffi;
use tikv_jemallocator::Jemalloc;

// jemalloc adds a page to each large object, and begins at a line of it by chance, so that objects of one size do not meet
// in the same cache sets. Without it two neighbours make exactly one of twice the size, which is what vectors grow to, and
// the page is not touched. The environment and a program's own variable of this name prevail.
weak_text!("_rjem_malloc_conf", "cache_oblivious:false");

thread_local! {
    static HAS_ARENA: Cell<bool> = const { Cell::new(false) };
}

/// Flags of `mallocx`: arena 0, and no thread cache (which belongs to an arena).
const ARENA_0: c_int = ffi::MALLOCX_ARENA(0) | ffi::MALLOCX_TCACHE_NONE;

/// Whether this thread has an arena, or got one now.
fn has_arena() -> bool {
    HAS_ARENA.get() || ask_for_arena()
}

#[cold]
fn ask_for_arena() -> bool {
    let (mut arena, mut size) = (0u32, size_of::<u32>());
    // SAFETY: reads one `unsigned`, by jemalloc's manual; it answers EAGAIN where no arena can be made.
    let answer =
        unsafe { ffi::mallctl(c"thread.arena".as_ptr(), (&raw mut arena).cast(), &mut size, ptr::null_mut(), 0) };
    if answer == 0 {
        huge_pages::ask_for(arena);
        HAS_ARENA.set(true);
    }
    answer == 0
}

/// Allocates; null without memory.
pub(super) fn alloc(layout: Layout, zeroed: bool) -> *mut u8 {
    if !has_arena() {
        let zero = if zeroed { ffi::MALLOCX_ZERO } else { 0 };
        // SAFETY: the size is not zero.
        return unsafe { ffi::mallocx(layout.size(), ARENA_0 | ffi::MALLOCX_ALIGN(layout.align()) | zero) }.cast();
    }
    // SAFETY: the size is not zero.
    let ptr = unsafe { Jemalloc.alloc(layout) };
    if zeroed && !ptr.is_null() {
        // SAFETY: a block of that size, ours alone.
        unsafe { clear(ptr, layout.size()) };
    }
    ptr
}

/// Makes a block read as zero: whole pages are given back for fresh ones. That is jemalloc's own way with its own hooks; an
/// arena with others writes zeros, and what nobody has touched becomes resident.
///
/// # Safety
/// - The block is the caller's alone.
unsafe fn clear(ptr: *mut u8, bytes: usize) {
    let page = memory::page_bytes();
    let head = ptr.align_offset(page).min(bytes);
    let whole = (bytes - head) / page * page;
    // SAFETY: inside the block; jemalloc's memory is private and anonymous.
    unsafe {
        ptr.write_bytes(0, head);
        if whole == 0 || !memory::purge(ptr.add(head), whole) {
            ptr.add(head).write_bytes(0, whole);
        }
        ptr.add(head + whole).write_bytes(0, bytes - head - whole);
    }
}

/// # Safety
/// - As for `GlobalAlloc::dealloc`.
pub(super) unsafe fn dealloc(ptr: *mut u8, layout: Layout) {
    // SAFETY: handed on to the caller.
    unsafe { Jemalloc.dealloc(ptr, layout) }
}

/// # Safety
/// - As for `GlobalAlloc::realloc`.
pub(super) unsafe fn realloc(ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    if !has_arena() {
        let flags = ARENA_0 | ffi::MALLOCX_ALIGN(layout.align());
        // SAFETY: handed on to the caller.
        return unsafe { ffi::rallocx(ptr.cast(), new_size, flags) }.cast();
    }
    // SAFETY: handed on to the caller.
    unsafe { Jemalloc.realloc(ptr, layout, new_size) }
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
    fn what_is_cleared_reads_as_zero_and_nothing_else_does() {
        let page = memory::page_bytes();
        for bytes in [1, page - 1, 10 * page, 20 * page + 7, 1 << 20] {
            let layout = Layout::from_size_align(bytes, 1).unwrap();
            // SAFETY: blocks of that layout, each freed once.
            unsafe {
                let dirty = alloc(layout, false);
                dirty.write_bytes(0xaa, bytes);
                dealloc(dirty, layout);
                let ptr = alloc(layout, true);
                assert!(core::slice::from_raw_parts(ptr, bytes).iter().all(|&byte| byte == 0));
                dealloc(ptr, layout);
                let (odd, within) = (alloc(layout, false), 3.min(bytes));
                odd.write_bytes(0xaa, bytes);
                clear(odd.add(within), bytes - within);
                let (kept, cleared) = core::slice::from_raw_parts(odd, bytes).split_at(within);
                assert!(kept.iter().all(|&byte| byte == 0xaa) && cleared.iter().all(|&byte| byte == 0));
                dealloc(odd, layout);
            }
        }
    }

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
