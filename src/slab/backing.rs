//! The allocator underneath, for large objects: jemalloc, or the system's without that feature.
//!
//! It is called only in preemptible or reader context, with the thread's context count raised. It may be called with
//! our locks held (its locks come after ours, in fork too), and never calls us.
//!
//! Objects are asked for with at least a page: two that are large only by their alignment must not start in one page,
//! because the address map has one entry a page.

#[cfg(all(feature = "jemalloc", not(miri)))]
mod jemalloc;
#[cfg(all(feature = "jemalloc", not(miri)))]
use jemalloc as chosen;
#[cfg(any(not(feature = "jemalloc"), miri))]
mod system;
#[cfg(any(not(feature = "jemalloc"), miri))]
use system as chosen;

use crate::platform::memory;
pub(super) use chosen::purge;
/// Brings the backing to life, so that what it registers (its fork handlers) comes before what we register.
pub(crate) use chosen::touch;
use core::alloc::Layout;

/// The least that is asked for, in bytes: a page of the address map.
const LEAST: usize = 4096;

/// Objects of this size stand on whole pages, so that these can be moved when the object grows. Smaller ones are copied, which
/// was measured to be faster up to here: what moves gets fresh pages for what it grows by, and these cost more than copying
/// into some that are at hand.
const MOVABLE: usize = 4 << 20;

/// Whether an object of this layout may be moved page by page.
pub(super) fn is_movable(layout: Layout) -> bool {
    chosen::COPIES && layout.size() >= MOVABLE && layout.align() <= memory::page_bytes()
}

fn padded(layout: Layout) -> Layout {
    let size = layout.size().max(LEAST);
    let align = if is_movable(layout) { memory::page_bytes() } else { layout.align() };
    // An object so large that it ends at the last address is nothing that can be had: its alignment stays.
    Layout::from_size_align(size, align).unwrap_or(layout)
}

/// Allocates a large object; null without memory.
pub(super) fn alloc(layout: Layout, zeroed: bool) -> *mut u8 {
    chosen::alloc(padded(layout), zeroed)
}

/// Gives a large object back.
///
/// # Safety
/// - It came from [`alloc`] or [`realloc`] with this layout and is not used any more.
pub(super) unsafe fn dealloc(ptr: *mut u8, layout: Layout) {
    // SAFETY: handed on to the caller.
    unsafe { chosen::dealloc(ptr, padded(layout)) }
}

/// Grows or shrinks a large object; null without memory, and then it is as before.
///
/// # Safety
/// - As for [`dealloc`]; `new_size` is not zero and fits a `Layout` of this alignment.
pub(super) unsafe fn realloc(ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: handed on to the caller; the new size fits the alignment.
    unsafe {
        let new = padded(Layout::from_size_align_unchecked(new_size, layout.align()));
        chosen::realloc(ptr, padded(layout), new)
    }
}

/// Whether a large object could grow where it is, and has.
///
/// # Safety
/// - As for [`realloc`].
pub(super) unsafe fn grow(ptr: *mut u8, layout: Layout, new_size: usize) -> bool {
    // SAFETY: handed on to the caller.
    unsafe { chosen::grow(ptr, padded(layout), new_size) }
}
