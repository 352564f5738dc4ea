//! Where there is no `mmap` (or Miri, which has no use for one): the system allocator, page-aligned.

use core::num::NonZeroUsize;
use core::ptr::NonNull;
use std::alloc::{GlobalAlloc, Layout, System};

const PAGE: usize = 4096;

/// Allocates `bytes` of zeroed memory.
pub(crate) fn map(bytes: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(bytes, PAGE).ok().filter(|l| l.size() > 0)?;
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { System.alloc_zeroed(layout) })
}

/// As [`map`]; nothing here needs the addresses beyond.
pub(crate) fn map_in_front(bytes: usize, _beyond: usize) -> Option<NonNull<u8>> {
    map(bytes)
}

/// The layout that [`unmap`] wants for what [`map`] allocated.
pub(crate) fn layout_of(bytes: usize) -> Layout {
    // SAFETY: something of that layout was allocated.
    unsafe { Layout::from_size_align_unchecked(bytes, PAGE) }
}

/// Allocates zeroed memory with the layout's alignment.
pub(crate) fn map_aligned(layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { System.alloc_zeroed(layout) })
}

/// Gives back what [`map`] or [`map_aligned`] allocated.
///
/// # Safety
/// - It came from there with this layout and is not used any more.
pub(crate) unsafe fn unmap(start: *mut u8, layout: Layout) {
    // SAFETY: handed on to the caller.
    unsafe { System.dealloc(start, layout) }
}

/// Nothing can be given back in part: false.
///
/// # Safety
/// - None; `unsafe` for the sake of the signature.
pub(crate) unsafe fn purge(_start: *mut u8, _bytes: usize) -> bool {
    false
}

/// Touches nothing: the system allocator's zeroed memory is all there is.
///
/// # Safety
/// - None; `unsafe` for the sake of the signature.
pub(crate) unsafe fn populate(_start: *mut u8, _bytes: usize) {}

/// Nothing is asked for.
///
/// # Safety
/// - None; `unsafe` for the sake of the signature.
pub(crate) unsafe fn prefer_huge_pages(_start: *mut u8, _bytes: usize) {}

/// Pages cannot be moved.
///
/// # Safety
/// - None; `unsafe` for the sake of the signature.
pub(crate) unsafe fn move_out(_start: *mut u8, _bytes: usize) -> Option<NonNull<u8>> {
    None
}

/// Nor resized.
///
/// # Safety
/// - None; `unsafe` for the sake of the signature.
pub(crate) unsafe fn resize(_start: *mut u8, _old: usize, _new: usize) -> Option<NonNull<u8>> {
    None
}

/// Nothing is known of the system allocator.
#[cfg(not(feature = "jemalloc"))] // else nothing of ours is there
pub(crate) fn trim_library() {}

/// The page size in bytes.
pub(super) fn ask_page_bytes() -> NonZeroUsize {
    NonZeroUsize::new(PAGE).expect("not zero")
}
