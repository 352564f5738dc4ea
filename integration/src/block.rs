//! An allocation filled with a pattern of its id.
//!
//! ```text
//! byte    0 .. 8            8 .. size
//!         id, little-endian  one byte hashed from the id
//! ```
//!
//! Short blocks hold the beginning of that. Two blocks that overlap, a block freed and handed out again while in use
//! and a write through a stale pointer all break somebody's pattern.

use std::alloc::{self, Layout};
use std::ptr::NonNull;
use std::slice;

use crate::require;

const STAMP: usize = size_of::<u64>();
/// Blocks above this size are checked at both ends only.
const CHECKED_WHOLE: usize = 64 * 1024;
const CHECKED_END: usize = 4096;

/// A live allocation. Not freed when dropped: programs count what they free.
#[derive(Debug)]
#[must_use = "a block that is not freed is a leak"]
pub struct Block {
    start: NonNull<u8>,
    layout: Layout,
    id: u64,
}

// SAFETY: it owns its memory.
unsafe impl Send for Block {}

impl Block {
    /// Allocates and fills; `None` where the allocator returns null. The layout's size is not 0.
    #[must_use]
    pub fn new(layout: Layout, id: u64) -> Option<Self> {
        // SAFETY: the size is not 0.
        Self::filled(unsafe { alloc::alloc(layout) }, layout, id)
    }

    /// The same through `alloc_zeroed`, whose zeroes it checks.
    #[must_use]
    pub fn zeroed(layout: Layout, id: u64) -> Option<Self> {
        // SAFETY: the size is not 0.
        let start = NonNull::new(unsafe { alloc::alloc_zeroed(layout) })?;
        // SAFETY: a fresh allocation of this size, initialised with what should be zeroes.
        let bytes = unsafe { slice::from_raw_parts(start.as_ptr(), layout.size()) };
        require!(all(bytes, 0), "alloc_zeroed at {start:p}, {layout:?}: not zero");
        Self::filled(start.as_ptr(), layout, id)
    }

    fn filled(start: *mut u8, layout: Layout, id: u64) -> Option<Self> {
        let mut block = Self { start: NonNull::new(start)?, layout, id };
        block.fill();
        Some(block)
    }

    fn fill(&mut self) {
        let aligned = self.address().is_multiple_of(self.layout.align());
        require!(aligned, "{:p} is not aligned for {:?}", self.start, self.layout);
        let stamp = self.layout.size().min(STAMP);
        let start = self.start.as_ptr();
        // SAFETY: the block owns `size` bytes, and the stamp is no longer than that.
        unsafe {
            start.copy_from_nonoverlapping(self.id.to_le_bytes().as_ptr(), stamp);
            start.add(stamp).write_bytes(self.body(), self.layout.size() - stamp);
        }
    }

    /// The byte after the stamp.
    fn body(&self) -> u8 {
        (self.id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
    }

    /// Fails unless the whole block (both ends of a very large one) still has its pattern.
    pub fn verify(&self) {
        self.verify_first(self.layout.size(), "damaged");
    }

    /// The same for the first `len` bytes.
    fn verify_first(&self, len: usize, how: &str) {
        // SAFETY: callers pass at most the length of the initialised memory that the block owns.
        let bytes = unsafe { slice::from_raw_parts(self.start.as_ptr(), len) };
        let (stamp, body) = bytes.split_at(len.min(STAMP));
        let whole = body.len() <= CHECKED_WHOLE;
        let ends = (&body[..CHECKED_END.min(body.len())], &body[body.len().saturating_sub(CHECKED_END)..]);
        let (head, tail) = if whole { (body, &[][..]) } else { ends };
        let fine = *stamp == self.id.to_le_bytes()[..stamp.len()] && all(head, self.body()) && all(tail, self.body());
        require!(fine, "object {} at {:p}, {:?}: {how}, begins with {stamp:x?}", self.id, self.start, self.layout);
    }

    /// Reallocates, checks that the common part is unchanged, and fills anew; where the allocator returns null the old
    /// block comes back, checked too.
    ///
    /// # Errors
    /// The old block.
    pub fn resized(mut self, size: usize) -> Result<Self, Self> {
        self.verify();
        let Ok(layout) = Layout::from_size_align(size, self.layout.align()) else {
            return Err(self);
        };
        // SAFETY: the block is live with this layout; the new size, not 0, has just been found valid.
        let Some(start) = NonNull::new(unsafe { alloc::realloc(self.start.as_ptr(), self.layout, size) }) else {
            self.verify();
            return Err(self);
        };
        let common = size.min(self.layout.size());
        (self.start, self.layout) = (start, layout);
        self.verify_first(common, "changed by realloc");
        self.fill();
        Ok(self)
    }

    /// Verifies and frees.
    pub fn free(self) {
        self.verify();
        // SAFETY: the block is live, came from this allocator with this layout, and ends here.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }

    /// Verifies and gives the memory to `free`, which may look at nothing but its address and layout: a deferring
    /// function, say.
    pub fn free_by(self, free: impl FnOnce(*mut u8, Layout)) {
        self.verify();
        free(self.start.as_ptr(), self.layout);
    }

    /// What a reader keeps of the block when its owner gives it up.
    #[must_use]
    pub fn view(&self) -> View {
        View(Self { start: self.start, layout: self.layout, id: self.id })
    }

    /// The address.
    #[must_use]
    pub fn address(&self) -> usize {
        self.start.addr().get()
    }

    /// The address after its last byte.
    #[must_use]
    pub fn end(&self) -> usize {
        self.address() + self.layout.size()
    }

    /// The layout.
    #[must_use]
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// A reader's eye on a block that somebody else owns.
#[derive(Debug)]
pub struct View(Block);

impl View {
    /// [`Block::verify`].
    ///
    /// # Safety
    /// - The memory is mapped: the block is live, or its free is deferred and what the deferral waits for has not ended.
    pub unsafe fn verify(&self) {
        self.0.verify();
    }
}

/// Whether all bytes are `value`: the first is, and each equals its successor (one `memcmp`, fast in debug builds).
fn all(bytes: &[u8], value: u8) -> bool {
    bytes.first().is_none_or(|&first| first == value && bytes[1..] == bytes[..bytes.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).expect("valid")
    }

    #[test]
    fn one_wrong_byte_anywhere_is_seen() {
        for wrong in 0..100 {
            let mut bytes = [7; 100];
            assert!(all(&bytes, 7));
            bytes[wrong] = 8;
            assert!(!all(&bytes, 7));
        }
    }

    #[test]
    fn blocks_keep_their_pattern_through_growth_and_shrinking() {
        for size in [1, 7, 8, 9, 100, CHECKED_WHOLE + 100] {
            let mut block = Block::zeroed(layout(100), 42).expect("memory");
            for size in [size, 3, size + 1, 200_000, size] {
                block = block.resized(size).expect("memory");
            }
            block.free();
        }
    }

    #[test]
    fn a_failed_realloc_gives_the_block_back() {
        let block = Block::new(layout(100), 42).expect("memory");
        block.resized(isize::MAX as usize - 100).expect_err("impossible").free();
    }
}
