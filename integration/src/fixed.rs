//! A vector of fixed capacity in memory of its own: it neither perturbs the allocator under test nor fails with it.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use crate::os;

/// A vector that never grows; its memory is mapped lazily and never given back, its items are never dropped.
#[derive(Debug)]
pub struct Fixed<T> {
    base: NonNull<T>,
    len: usize,
    capacity: usize,
}

// SAFETY: it owns its items like a `Vec`.
unsafe impl<T: Send> Send for Fixed<T> {}

impl<T> Fixed<T> {
    /// An empty vector for `capacity` items.
    ///
    /// # Errors
    /// When the address space is exhausted.
    pub fn new(capacity: usize) -> io::Result<Self> {
        Ok(Self { base: os::map(capacity * size_of::<T>())?.cast(), len: 0, capacity })
    }

    /// Appends an item; a full vector is a mistake in the program.
    pub fn push(&mut self, item: T) {
        crate::require!(self.len < self.capacity, "a fixed vector of {} items is full", self.capacity);
        // SAFETY: `len < capacity`, and the cell holds no item.
        unsafe { self.base.add(self.len).write(item) };
        self.len += 1;
    }

    /// Takes the last item.
    pub fn pop(&mut self) -> Option<T> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: the cell held an item, and `len` no longer covers it.
        Some(unsafe { self.base.add(self.len).read() })
    }

    /// Takes item `index`; the last one moves to its place.
    pub fn swap_remove(&mut self, index: usize) -> T {
        let last = self.len - 1;
        self.swap(index, last);
        self.pop().expect("not empty: it had an item `index`")
    }
}

impl<T> Deref for Fixed<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the first `len` cells hold items, and are borrowed with `self`.
        unsafe { slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }
}

impl<T> DerefMut for Fixed<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and the borrow is unique.
        unsafe { slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::Fixed;

    #[test]
    fn removing_keeps_the_others() {
        let mut fixed = Fixed::new(4).expect("address space");
        (0..4).for_each(|item| fixed.push(item));
        assert_eq!(fixed.swap_remove(1), 1);
        assert_eq!(*fixed, [0, 3, 2]);
        assert_eq!(std::iter::from_fn(|| fixed.pop()).collect::<Vec<_>>(), [2, 3, 0]);
    }
}
