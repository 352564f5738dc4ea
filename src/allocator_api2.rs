//! `allocator_api2`'s `Allocator` for [`GraceAlloc`]: collections with their own allocator, on stable Rust.

use crate::GraceAlloc;
use allocator_api2::alloc::{AllocError, Allocator};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

/// The block as the trait wants it.
fn block(ptr: *mut u8, size: usize) -> Result<NonNull<[u8]>, AllocError> {
    NonNull::new(ptr::slice_from_raw_parts_mut(ptr, size)).ok_or(AllocError)
}

fn allocate(layout: Layout, zeroed: bool) -> Result<NonNull<[u8]>, AllocError> {
    if layout.size() == 0 {
        return block(ptr::without_provenance_mut(layout.align()), 0);
    }
    // SAFETY: the layout has a size.
    let ptr = unsafe { if zeroed { GraceAlloc.alloc_zeroed(layout) } else { GraceAlloc.alloc(layout) } };
    block(ptr, layout.size())
}

/// Moves a block to another layout; whether it grows or shrinks makes no difference here.
///
/// # Safety
/// - As for `Allocator::grow` or `Allocator::shrink`.
unsafe fn change(ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
    if old.align() == new.align() && old.size() != 0 && new.size() != 0 {
        // SAFETY: allocated with `old`; the new size fits a layout of the same alignment.
        return block(unsafe { GraceAlloc.realloc(ptr.as_ptr(), old, new.size()) }, new.size());
    }
    let moved = allocate(new, false)?;
    // SAFETY: both blocks are as long as what is copied; the old one is not used again.
    unsafe {
        ptr::copy_nonoverlapping(ptr.as_ptr(), moved.as_ptr().cast(), old.size().min(new.size()));
        GraceAlloc.deallocate(ptr, old);
    }
    Ok(moved)
}

// SAFETY: blocks stay valid until they are freed, whatever happens to the (stateless) allocator's values.
unsafe impl Allocator for GraceAlloc {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        allocate(layout, false)
    }

    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        allocate(layout, true)
    }

    unsafe fn deallocate(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: handed on to the caller.
            unsafe { self.dealloc(ptr.as_ptr(), layout) };
        }
    }

    unsafe fn grow(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: handed on to the caller.
        unsafe { change(ptr, old, new) }
    }

    unsafe fn grow_zeroed(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: handed on to the caller; the block is at least `new.size()` long.
        unsafe {
            let grown = change(ptr, old, new)?;
            grown.as_ptr().cast::<u8>().add(old.size()).write_bytes(0, new.size() - old.size());
            Ok(grown)
        }
    }

    unsafe fn shrink(&self, ptr: NonNull<u8>, old: Layout, new: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: handed on to the caller.
        unsafe { change(ptr, old, new) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use allocator_api2::{boxed::Box, vec::Vec};

    #[test]
    fn collections_live_in_it() {
        let mut v: Vec<u64, _> = Vec::new_in(GraceAlloc);
        v.extend(0..10_000);
        v.truncate(10);
        v.shrink_to_fit();
        assert_eq!(v.iter().sum::<u64>(), 45);
        assert!(crate::usable_size(v.as_ptr().cast()).is_some());
        let unit = Box::new_in((), GraceAlloc);
        drop(unit);
    }
}
