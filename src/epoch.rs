//! For programs whose readers are crossbeam-epoch's: one call in the place of `defer_destroy`.

use crate::defer::{defer_drop, deferred_free};
use crate::global::is_global;
use core::alloc::Layout;
use core::mem::needs_drop;
use crossbeam_epoch::{Guard, Shared, default_collector};

/// Retires what crossbeam-epoch's readers may still see, at the price of a free.
pub trait Retire: sealed::Sealed {
    /// Destroys what a pointer points to, once all readers have left that are pinned now: in the place of
    /// [`Guard::defer_destroy`], for which programs need change nothing else.
    ///
    /// - A value without drop glue goes by [`deferred_free`]: no closure, no bag, nothing that runs later.
    /// - Any other by [`defer_drop`]: its destructor runs on the worker thread, and not inside some `pin()`.
    /// - Where that would not be right it is `defer_destroy`: if [`GraceAlloc`](crate::GraceAlloc) is not the program's
    ///   global allocator, from which the pointer came; with a guard of another collector than the default one, whose
    ///   readers gracealloc does not see; and with the [`unprotected`](crossbeam_epoch::unprotected) guard, which
    ///   destroys at once.
    ///
    /// The caller holds a guard, so this never waits: the budget does not slow it down, and what waits can grow without bound
    /// while grace periods are slower than retiring. Where that matters, drop the guard and defer then.
    ///
    /// So the readers are those pinned by the guard's own collector. (Readers that [`read`](crate::read) are waited for in the
    /// first two cases, and not in the last.) Tags are ignored, and null does nothing.
    ///
    /// # Safety
    /// - The pointer came from `Owned::new`, `Atomic::new` or a box, and is not retired or destroyed elsewhere.
    /// - It is unlinked: nobody who pins after the call can reach it.
    /// - With the unprotected guard: nobody else uses it at all.
    /// - A global allocator that wraps [`GraceAlloc`](crate::GraceAlloc) hands every layout on as it is. Its `dealloc` is not
    ///   called for values without drop glue.
    ///
    /// # Examples
    /// ```
    /// use crossbeam_epoch::{Atomic, Shared, pin};
    /// use gracealloc::Retire;
    /// use std::sync::atomic::Ordering::AcqRel;
    ///
    /// let current = Atomic::new(String::from("old"));
    /// let guard = pin();
    /// let old = current.swap(Shared::null(), AcqRel, &guard);
    /// // SAFETY: from `Atomic::new`, and unlinked by the swap, which only one thread makes.
    /// unsafe { guard.retire(old) };
    /// assert_eq!(unsafe { old.deref() }, "old"); // as long as the guard is there
    /// ```
    unsafe fn retire<T: Send + 'static>(&self, ptr: Shared<'_, T>);
}

impl Retire for Guard {
    unsafe fn retire<T: Send + 'static>(&self, ptr: Shared<'_, T>) {
        if ptr.is_null() {
            return;
        }
        let raw = ptr.as_raw().cast_mut(); // without the tag
        // SAFETY: handed on to the caller. The guard is the default collector's, so those who are pinned are our readers too;
        // what comes from a box is GraceAlloc's, if that is the global allocator.
        unsafe {
            if !is_default(self) || !is_global() {
                self.defer_destroy(ptr);
            } else if needs_drop::<T>() {
                defer_drop(raw);
            } else {
                deferred_free(raw.cast(), Layout::new::<T>());
            }
        }
    }
}

/// Whether our grace periods wait for a guard: not the unprotected one, which has no collector.
fn is_default(guard: &Guard) -> bool {
    guard.collector().is_some_and(|collector| collector == default_collector())
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Guard {}
}
