//! Objects set aside beforehand, for code that can neither wait nor do without.
//!
//! ```text
//!   objects --> [ ptr | ptr | ptr | ptr |  -  |  -  ]      an array of GraceAlloc's, resident as the objects are
//!                 0                 len         n
//! ```
//!
//! Invariant: the first `len` entries are objects of `layout`, ours alone, of which every page has been written to.

use crate::global::GraceAlloc;
use crate::platform::memory;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::NonNull;

/// Objects of one layout, allocated and made resident beforehand: [`alloc`](Self::alloc) takes one, at a cost that is bounded.
///
/// For real-time code, and for whoever must not fail half-way: no lock, no system call, no page fault, in any context. The
/// objects are ordinary ones: each is given back by `dealloc` of [`GraceAlloc`] or by
/// [`deferred_free`](crate::deferred_free) with the same layout, by anyone. What is left when the reservation is dropped goes
/// back at once; in an [`atomic_section`](crate::atomic_section) as any `dealloc` there.
///
/// In the child of a `fork`, and in its parent, pages are copied when they are next written to: neither is resident any
/// more in this sense. Against swapping there is `mlockall`.
///
/// The idea is that of `mempool_t` and of prefilled sheaves (`kmem_cache_prefill_sheaf`) in the Linux kernel; but what is freed
/// goes to the allocator and not back here: to fill it again, make another one.
///
/// # Examples
/// ```
/// use gracealloc::{GraceAlloc, Reservation};
/// use std::alloc::{GlobalAlloc, Layout};
///
/// let layout = Layout::new::<[u64; 8]>();
/// let mut reservation = Reservation::new(layout, 100)?;
/// let section = gracealloc::atomic_section();
/// let object = reservation.alloc().unwrap();
/// assert_eq!(reservation.len(), 99);
/// // SAFETY: an object of this layout, freed once.
/// unsafe { GraceAlloc.dealloc(object.as_ptr(), layout) };
/// # drop(section);
/// # Ok::<(), gracealloc::ReserveError>(())
/// ```
pub struct Reservation {
    /// An array of `capacity` pointers, `len` of them valid; dangling without capacity.
    objects: NonNull<NonNull<u8>>,
    capacity: usize,
    len: usize,
    layout: Layout,
}

// SAFETY: the objects and the array are the reservation's alone.
unsafe impl Send for Reservation {}
// SAFETY: shared, it answers three numbers.
unsafe impl Sync for Reservation {}

impl Reservation {
    /// Sets `n` objects aside. Allocates them one by one and writes to each of their pages; 8 bytes come on top of each.
    ///
    /// To be called beforehand, in preemptible context: in an [`atomic_section`](crate::atomic_section) there is only what is
    /// cached or in the allocator's own reserve. `n` may be 0.
    ///
    /// # Errors
    /// - [`ReserveError::ZeroSize`]: there are no objects of size 0.
    /// - [`ReserveError::NoMemory`]: there is not enough memory for all of them; what was had of it has been given back. Where the
    ///   system promises more than it has, its want may show only later, as ever: in a killed process.
    pub fn new(layout: Layout, n: usize) -> Result<Self, ReserveError> {
        if layout.size() == 0 {
            return Err(ReserveError::ZeroSize);
        }
        let mut reservation = Self::empty(layout, n).ok_or(ReserveError::NoMemory)?;
        while reservation.len < n {
            // SAFETY: the layout has a size.
            let object = NonNull::new(unsafe { GraceAlloc.alloc(layout) }).ok_or(ReserveError::NoMemory)?;
            // SAFETY: below the capacity.
            unsafe { reservation.objects.add(reservation.len).write(object) };
            reservation.len += 1;
        }
        // Only now: more than there is should be refused before the pages of half of it have been touched.
        (0..n).for_each(|i| reservation.make_resident(i));
        Ok(reservation)
    }

    /// Room for `n` objects; `None` without memory, or where so many could not exist.
    fn empty(layout: Layout, n: usize) -> Option<Self> {
        layout.size().checked_mul(n).filter(|&bytes| isize::try_from(bytes).is_ok())?;
        let array = Layout::array::<NonNull<u8>>(n).ok()?;
        let objects = match n {
            0 => NonNull::dangling(),
            // SAFETY: the array has a size.
            _ => NonNull::new(unsafe { GraceAlloc.alloc(array) })?.cast(),
        };
        Some(Self { objects, capacity: n, len: 0, layout })
    }

    /// Writes to every page of an object.
    fn make_resident(&mut self, i: usize) {
        let page = memory::page_bytes();
        // SAFETY: one of the objects.
        let object = unsafe { self.objects.add(i).read() };
        let to_next_page = page - object.addr().get() % page;
        for at in core::iter::once(0).chain((to_next_page..self.layout.size()).step_by(page)) {
            // SAFETY: within the object, which is ours alone and holds nothing. Volatile: nobody reads it.
            unsafe { object.add(at).write_volatile(0) };
        }
    }

    /// An object, with anything in it; `None` when all have been taken. A handful of instructions, in any context.
    #[inline]
    pub fn alloc(&mut self) -> Option<NonNull<u8>> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: one of the objects, and not counted among them any more.
        Some(unsafe { self.objects.add(self.len).read() })
    }

    /// How many are left.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The layout of each, with which it is given back.
    pub fn layout(&self) -> Layout {
        self.layout
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        while let Some(object) = self.alloc() {
            // SAFETY: allocated with this layout, and ours alone.
            unsafe { GraceAlloc.dealloc(object.as_ptr(), self.layout) };
        }
        // SAFETY: allocated with this very layout; of a size of zero there is nothing to give back, and that does nothing.
        unsafe {
            let array = Layout::array::<NonNull<u8>>(self.capacity).unwrap_unchecked();
            GraceAlloc.dealloc(self.objects.as_ptr().cast(), array);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("len", &self.len).field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Why nothing was set aside; see [`Reservation::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReserveError {
    /// There are no objects of size 0.
    ZeroSize,
    /// There is not enough memory.
    NoMemory,
}

impl fmt::Display for ReserveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ZeroSize => "there are no objects of size 0 to set aside",
            Self::NoMemory => "not enough memory to set aside",
        })
    }
}

impl core::error::Error for ReserveError {}
