//! The calls of who does not know the layout: C.
//!
//! ```text
//!   free       class of the unit: two loads of the address map, then the section of a sized free; else
//!     slow       null, the fallback, a large object: by its layout; a pointer that is not ours ends the process
//!   others     the layout is looked up, then the sized call
//! ```
//!
//! An object's layout is that of its class, which is not smaller than what was asked for, and 16 is the least alignment of all.
//! Large objects have a record of theirs.

use crate::context;
use crate::platform::fatal;
use crate::size_class::SizeClass;
use crate::{GraceAlloc, cache, defer, deferred, global, slab};
use core::alloc::Layout;

/// Every object starts at a multiple of so many bytes.
const LEAST_ALIGN: usize = 16;

impl GraceAlloc {
    /// As `dealloc`, for who does not know the layout. It is looked up, which costs about a nanosecond. Null is permitted and
    /// does nothing. A pointer that is not ours ends the process.
    ///
    /// # Safety
    /// - `ptr` is null, or a block of this allocator that is in use, and nobody uses it any more.
    ///
    /// # Examples
    /// ```
    /// use std::alloc::{GlobalAlloc, Layout};
    ///
    /// // SAFETY: the layout has a size; freed once.
    /// unsafe {
    ///     let ptr = gracealloc::GraceAlloc.alloc(Layout::new::<[u64; 8]>());
    ///     gracealloc::GraceAlloc.dealloc_unsized(ptr);
    /// }
    /// ```
    #[inline]
    pub unsafe fn dealloc_unsized(&self, ptr: *mut u8) {
        // What has no class finds no room: the slots of none are always EMPTY.
        if !is_aligned(ptr) || !slab::class_around(ptr).is_some_and(|class| cache::free(class, ptr)) {
            dealloc_slow(ptr);
        }
    }

    /// As `dealloc`, for who knows the size, and that no special alignment was asked for: then nothing is looked up.
    ///
    /// # Safety
    /// - `ptr` is a block of this allocator that is in use and nobody uses any more; it was asked for with this size, which is
    ///   not zero, and an alignment of at most 16.
    ///
    /// # Examples
    /// ```
    /// use std::alloc::{GlobalAlloc, Layout};
    ///
    /// // SAFETY: the layout has a size; freed once.
    /// unsafe {
    ///     let ptr = gracealloc::GraceAlloc.alloc(Layout::new::<[u64; 8]>());
    ///     gracealloc::GraceAlloc.dealloc_sized(ptr, 64);
    /// }
    /// ```
    #[inline]
    pub unsafe fn dealloc_sized(&self, ptr: *mut u8, size: usize) {
        if !SizeClass::of_size(size).is_some_and(|class| cache::free(class, ptr)) {
            dealloc_slow(ptr);
        }
    }

    /// As `realloc`, for who does not know the layout, which is looked up. A block that becomes a small one is aligned to 16
    /// afterwards, others as before. A pointer that is not ours ends the process.
    ///
    /// # Safety
    /// - `ptr` is a block of this allocator that is in use, and not null; unless null is returned, nobody uses it any more.
    /// - `new_size` is not zero.
    ///
    /// # Examples
    /// ```
    /// use std::alloc::{GlobalAlloc, Layout};
    ///
    /// // SAFETY: the layout has a size; freed once.
    /// unsafe {
    ///     let ptr = gracealloc::GraceAlloc.alloc(Layout::new::<u64>());
    ///     let ptr = gracealloc::GraceAlloc.realloc_unsized(ptr, 1000);
    ///     gracealloc::GraceAlloc.dealloc_unsized(ptr);
    /// }
    /// ```
    pub unsafe fn realloc_unsized(&self, ptr: *mut u8, new_size: usize) -> *mut u8 {
        let layout = layout_of(ptr, "realloc of a pointer that is not an object");
        // So that a small block's class is always that of its size: `dealloc_sized` knows nothing else.
        let small = SizeClass::of_size(new_size).is_some();
        let new = Layout::from_size_align(new_size, if small { LEAST_ALIGN } else { layout.align() });
        // SAFETY: the layout is the block's own, or that of its class; the rest is handed on to the caller.
        new.map_or(core::ptr::null_mut(), |new| unsafe { self.realloc_as(ptr, layout, new) })
    }
}

#[inline(always)]
fn is_aligned(ptr: *mut u8) -> bool {
    ptr.addr().is_multiple_of(LEAST_ALIGN)
}

#[cold]
#[inline(never)]
fn dealloc_slow(ptr: *mut u8) {
    if !ptr.is_null() {
        global::free_slow(ptr, layout_of(ptr, "free of a pointer that is not an object"));
    }
}

/// [`deferred_free`](crate::deferred_free) for who does not know the layout, which is looked up. Null is permitted and does
/// nothing. A pointer that is not ours ends the process.
///
/// # Panics
/// - As [`deferred_free`](crate::deferred_free).
///
/// # Safety
/// - As for [`deferred_free`](crate::deferred_free), but for the layout.
///
/// # Examples
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
///
/// // SAFETY: the layout has a size, and nobody else has seen the block.
/// unsafe { gracealloc::deferred_free_unsized(gracealloc::GraceAlloc.alloc(Layout::new::<u64>())) };
/// gracealloc::barrier();
/// ```
#[inline]
pub unsafe fn deferred_free_unsized(ptr: *mut u8) {
    if !is_aligned(ptr) || !slab::class_around(ptr).is_some_and(|class| deferred::push(class, ptr)) {
        defer_slow(ptr);
    }
}

#[cold]
#[inline(never)]
fn defer_slow(ptr: *mut u8) {
    if !ptr.is_null() {
        defer::defer_slow(ptr, layout_of(ptr, "deferred free of a pointer that is not an object"));
    }
}

/// The layout of a block in use; anything else ends the process.
fn layout_of(ptr: *mut u8, complaint: &str) -> Layout {
    let Some(layout) = slab::layout_of(ptr) else {
        fatal::fatal(if slab::large::is_freed(ptr) { "double free" } else { complaint }, ptr, None)
    };
    layout
}

/// For the C library: ends the innermost [`atomic_section`](crate::atomic_section) of this thread, whose guard was forgotten.
/// False if there is none.
///
/// # Safety
/// - The innermost section of this thread was opened by [`atomic_section`](crate::atomic_section), and its guard was forgotten.
#[doc(hidden)]
pub unsafe fn leave_atomic_section() -> bool {
    let is_open = context::is_atomic();
    if is_open {
        context::end_forgotten();
    }
    is_open
}

/// For the C library: whether this thread has a guard of [`read`](crate::read) open.
#[doc(hidden)]
pub fn is_reading() -> bool {
    context::is_reading()
}

/// For the C library: one line about a call or a block, then abort.
#[doc(hidden)]
#[cold]
pub fn fatal(what: &str, ptr: Option<*const u8>) -> ! {
    match ptr {
        Some(ptr) => fatal::fatal(what, ptr, None),
        None => fatal::report(format_args!("{what}")),
    }
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::alloc::GlobalAlloc;

    #[cfg(not(miri))]
    const SIZES: &[usize] = &[1, 100, 4096, 32_768, 32_769, 200_000, 5 << 20];
    #[cfg(miri)]
    const SIZES: &[usize] = &[1, 100, 4096, 32_769];

    fn alloc(size: usize, align: usize) -> *mut u8 {
        // SAFETY: the sizes here are not zero.
        let ptr = unsafe { GraceAlloc.alloc(Layout::from_size_align(size, align).unwrap()) };
        assert!(!ptr.is_null());
        ptr
    }

    fn free(ptr: *mut u8) {
        // SAFETY: each of these tests frees its blocks once.
        unsafe { GraceAlloc.dealloc_unsized(ptr) }
    }

    #[test]
    fn blocks_of_all_kinds_go_back_without_their_layout() {
        for align in [1, 16, 64, 4096, 1 << 16, 1 << 21] {
            for &size in SIZES {
                let ptr = alloc(size, align);
                let layout = slab::layout_of(ptr).unwrap();
                assert!(layout.size() >= size, "{size} {align}");
                free(ptr);
                let is_large = size.max(align) > 32_768;
                assert!(!is_large || slab::layout_of(ptr).is_none(), "a large block is known until it is freed");
            }
        }
        free(core::ptr::null_mut());
    }

    #[test]
    fn content_moves_between_all_sizes_and_a_small_block_is_one_of_its_size() {
        for align in [8, 1 << 16] {
            for (from, to) in SIZES.iter().flat_map(|&from| SIZES.iter().map(move |&to| (from, to))) {
                let ptr = alloc(from, align);
                // SAFETY: as many bytes as both blocks have; the last call ends the block's life.
                unsafe {
                    ptr.write_bytes(0xa5, from);
                    let moved = GraceAlloc.realloc_unsized(ptr, to);
                    let kept = core::slice::from_raw_parts(moved, from.min(to));
                    assert!(kept.iter().all(|&byte| byte == 0xa5), "{from} to {to}");
                    moved.write_bytes(0x5a, to);
                    let class = SizeClass::of_size(to);
                    assert!(
                        class.is_none_or(|class| slab::class_around(moved) == Some(class)),
                        "{from} to {to}, {align}"
                    );
                    GraceAlloc.dealloc_sized(moved, to);
                }
            }
        }
    }

    #[test]
    #[cfg(not(miri))]
    fn a_block_that_is_moved_by_pages_keeps_its_content() {
        let (mut size, mut ptr) = (5 << 20, alloc(5 << 20, 16));
        let mut in_the_way = Vec::new();
        for to in [7, 9, 14, 14, 6, 8, 1].map(|mebibytes| mebibytes << 20).into_iter().chain([100_000, 1000]) {
            in_the_way.push(alloc(1 << 20, 16));
            // SAFETY: the block is as long as is written and read.
            unsafe {
                ptr.write_bytes(0xa5, size);
                ptr = GraceAlloc.realloc_unsized(ptr, to);
                assert!(
                    core::slice::from_raw_parts(ptr, size.min(to)).iter().all(|&byte| byte == 0xa5),
                    "{size} to {to}"
                );
            }
            size = to;
        }
        in_the_way.into_iter().chain([ptr]).for_each(free);
    }

    #[test]
    fn a_size_that_no_block_can_have_leaves_the_block_as_it_is() {
        for size in [10, 50_000, 5 << 20] {
            let ptr = alloc(size, 1);
            // SAFETY: the block lives; nothing is done to it.
            unsafe {
                assert!(GraceAlloc.realloc_unsized(ptr, usize::MAX).is_null());
                assert!(GraceAlloc.realloc_unsized(ptr, isize::MAX as usize - 4096).is_null());
                ptr.write_bytes(1, size);
            }
            free(ptr);
        }
    }

    #[test]
    fn what_is_deferred_without_its_layout_comes_back() {
        for &size in SIZES {
            // SAFETY: nobody else has seen the block.
            unsafe { deferred_free_unsized(alloc(size, 16)) };
        }
        // SAFETY: null does nothing.
        unsafe { deferred_free_unsized(core::ptr::null_mut()) };
        crate::barrier();
    }
}
