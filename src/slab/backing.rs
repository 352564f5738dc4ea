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

pub(super) use chosen::purge;
/// Brings the backing to life, so that what it registers (its fork handlers) comes before what we register.
pub(crate) use chosen::touch;
use core::alloc::Layout;

/// The least that is asked for, in bytes: a page of the address map.
const LEAST: usize = 4096;

fn padded(layout: Layout) -> Layout {
    // SAFETY: a page with the same alignment is a layout wherever a byte is: sizes round up to the alignment, which is
    // a power of two, and a layout of that alignment exists.
    unsafe { Layout::from_size_align_unchecked(layout.size().max(LEAST), layout.align()) }
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
    // SAFETY: handed on to the caller.
    unsafe { chosen::realloc(ptr, padded(layout), new_size.max(LEAST)) }
}
