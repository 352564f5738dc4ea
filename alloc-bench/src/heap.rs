//! Objects as the plain workloads use them: allocate, write a word, free.
//!
//! The word is written with a volatile store. It keeps the compiler from removing the pair of calls, which it may do
//! with memory that nobody uses, and costs one store; `black_box` would send the pointer through the stack and add
//! some five cycles of latency to what is measured.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// The alignment of all objects here; every size is at least as large.
pub const ALIGN: usize = align_of::<u64>();

/// The layout of an object of `size` bytes.
///
/// # Panics
///
/// If `size` cannot hold the word that [`obtain`] writes, or is too large for any object.
#[inline]
pub const fn layout(size: usize) -> Layout {
    assert!(size >= size_of::<u64>(), "an object holds at least a word");
    match Layout::from_size_align(size, ALIGN) {
        Ok(layout) => layout,
        Err(_) => panic!("an object larger than isize::MAX"),
    }
}

/// Allocates an object and writes `word` at its start. The process ends if there is no memory.
///
/// # Safety
///
/// - `layout` came from [`layout`].
#[inline(always)]
pub unsafe fn obtain(layout: Layout, word: u64) -> NonNull<u64> {
    // SAFETY: by contract, the layout is not of size zero.
    let object = unsafe { alloc(layout) }.cast::<u64>();
    let Some(object) = NonNull::new(object) else { handle_alloc_error(layout) };
    // SAFETY: just allocated, aligned for a word and large enough for one.
    unsafe { object.write_volatile(word) };
    object
}

/// Like [`obtain`], out of line.
///
/// A child that brings a scheme of its own compiles that scheme's loops next to its global allocator, which would then
/// be inlined there, and into nobody else's loops. This function is compiled once, here, where no allocator is known.
///
/// # Safety
///
/// - `layout` came from [`layout`], or is another of whole words, at least one.
#[inline(never)]
pub unsafe fn obtain_out_of_line(layout: Layout, word: u64) -> NonNull<u64> {
    // SAFETY: by contract.
    unsafe { obtain(layout, word) }
}

/// Frees an object.
///
/// # Safety
///
/// - `object` came from [`obtain`] with this `layout`, and was not freed since.
#[inline(always)]
pub unsafe fn give_back(object: NonNull<u64>, layout: Layout) {
    // SAFETY: by contract, this is the layout it was allocated with.
    unsafe { dealloc(object.as_ptr().cast(), layout) }
}
