//! A program as users build them, with the calls of the fast paths under names that can be found in the executable.

use gracealloc::GraceAlloc;
use std::alloc::{GlobalAlloc, Layout};
use std::hint::black_box;

const FIXED: Layout = Layout::new::<[u64; 8]>();

#[inline(never)]
#[unsafe(no_mangle)]
fn probe_alloc_fixed() -> *mut u8 {
    // SAFETY: the layout has a size.
    unsafe { GraceAlloc.alloc(FIXED) }
}

/// # Safety
/// - `ptr` came from `probe_alloc_fixed` and is freed once.
#[inline(never)]
#[unsafe(no_mangle)]
unsafe fn probe_dealloc_fixed(ptr: *mut u8) {
    // SAFETY: handed on to the caller.
    unsafe { GraceAlloc.dealloc(ptr, FIXED) }
}

/// # Safety
/// - A valid layout whose size is not zero.
#[inline(never)]
#[unsafe(no_mangle)]
unsafe fn probe_alloc_any(size: usize, align: usize) -> *mut u8 {
    // SAFETY: handed on to the caller.
    unsafe { GraceAlloc.alloc(Layout::from_size_align_unchecked(size, align)) }
}

/// # Safety
/// - `ptr` came from `probe_alloc_any` with this layout and is freed once.
#[inline(never)]
#[unsafe(no_mangle)]
unsafe fn probe_dealloc_any(ptr: *mut u8, size: usize, align: usize) {
    // SAFETY: handed on to the caller.
    unsafe { GraceAlloc.dealloc(ptr, Layout::from_size_align_unchecked(size, align)) }
}

fn main() {
    for _ in 0..1000 {
        // SAFETY: valid layouts; each object is freed once, with its own.
        unsafe {
            probe_dealloc_fixed(black_box(probe_alloc_fixed()));
            probe_dealloc_any(black_box(probe_alloc_any(black_box(100), 8)), black_box(100), 8);
        }
    }
    println!("rseq: {}", gracealloc::stats().rseq);
}
