//! Readers of our own: sections in which nothing that was reachable is given back.

use crate::context;
use crate::grace::{self, Parity};
use core::marker::PhantomData;

/// Becomes a reader until the guard is dropped: what is unlinked and deferred meanwhile is not given back.
///
/// It costs one restartable sequence that adds to a count of this CPU, and as much at the end: no fence, no atomic
/// instruction, no registration of threads. Sections nest, and guards may be dropped in any order: what was found before a
/// guard was opened, under an older one, is protected by the older one alone. It never fails and never blocks, and works in a
/// signal handler too (inside an [`atomic_section`](crate::atomic_section), as everything there; a guard that is opened in a
/// handler is dropped in it; in a library that is loaded later, on threads that have been readers before). Where restartable
/// sequences are not in use it costs an atomic addition.
///
/// There is one domain for the whole program: a reader of one structure holds up what is deferred from all. A reader may
/// allocate, free and defer, and should not take long: what was deferred since it began stays until it ends. (Who defers much
/// does it without a guard, and may then wait for room.) It must not wait for readers, itself among them:
/// [`synchronize`](crate::synchronize) and [`barrier`](crate::barrier) panic.
///
/// In the child of a `fork` the guards of the thread that forked go on; those of other threads are gone. A guard that is
/// leaked makes grace periods wait for ever.
///
/// The idea is that of the Linux kernel's SRCU, in its form without fences for readers (`srcu_read_lock_fast`).
///
/// # Examples
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
/// use std::sync::atomic::{AtomicPtr, Ordering::{Acquire, Release}};
/// use gracealloc::{GraceAlloc, deferred_free, read};
///
/// static CURRENT: AtomicPtr<u64> = AtomicPtr::new(std::ptr::null_mut());
/// let layout = Layout::new::<u64>();
/// // SAFETY: the layout has a size; what is read was published, and is unlinked before it is deferred.
/// unsafe {
///     let first = GraceAlloc.alloc(layout).cast::<u64>();
///     first.write(1);
///     CURRENT.store(first, Release);
///
///     let guard = read();
///     let seen = CURRENT.load(Acquire);
///     let old = CURRENT.swap(std::ptr::null_mut(), Acquire);
///     deferred_free(old.cast(), layout);
///     assert_eq!(*seen, 1); // still there
///     drop(guard);
/// }
/// ```
#[inline]
pub fn read() -> ReadGuard {
    // A guard that is one with others (after a fork) has nothing to leave, and its parity is never used.
    let parity = if context::begin_read() { grace::enter() } else { Parity::FIRST };
    ReadGuard { parity, _not_send: PhantomData }
}

/// A reader on this thread; see [`read`].
#[must_use = "the section ends when the guard is dropped"]
#[derive(Debug)]
pub struct ReadGuard {
    parity: Parity,
    _not_send: PhantomData<*mut ()>,
}

impl ReadGuard {
    /// The guard as a number, for languages without destructors. The section stays open until [`from_raw`](Self::from_raw)
    /// has made a guard of it again, and that is dropped.
    ///
    /// # Examples
    /// ```
    /// let number = gracealloc::read().into_raw();
    /// // SAFETY: from above, on this thread, once.
    /// drop(unsafe { gracealloc::ReadGuard::from_raw(number) });
    /// ```
    #[must_use = "the section stays open"]
    pub fn into_raw(self) -> u64 {
        core::mem::ManuallyDrop::new(self).parity.bytes()
    }

    /// The guard behind a number.
    ///
    /// # Safety
    /// - The number came from [`into_raw`](Self::into_raw) on this thread, and this is called once for it.
    pub unsafe fn from_raw(number: u64) -> Self {
        Self { parity: Parity::from_bytes(number).unwrap_or(Parity::FIRST), _not_send: PhantomData }
    }
}

impl Drop for ReadGuard {
    #[inline]
    fn drop(&mut self) {
        if !context::is_reading_once() {
            return drop_nested(self.parity);
        }
        grace::leave(self.parity); // before the count: a handler in between still takes this thread for a reader
        context::end_read();
    }
}

/// Drops one of several guards.
#[inline(never)]
fn drop_nested(parity: Parity) {
    if !context::is_inherited() {
        grace::leave(parity);
        context::end_nested_read();
    } else if context::end_inherited_read() {
        grace::leave_inherited(); // after the count: a guard that a handler opens in between is counted in by itself
    }
}

/// Becomes a reader whose guard may go to other threads and be dropped there: held across `.await`, kept in a structure.
///
/// As [`read`], with two differences. Nobody can know which thread such a reader is, so waiting for grace periods while
/// holding one is not noticed, and waits for ever (or for its limit; [`deferred_free`](crate::deferred_free) waits 10 ms at most
/// while any is open). And in the child of a `fork` the guard protects nothing. A guard inside a value that is itself deferred
/// waits for itself: neither goes, and no grace period ends any more.
///
/// # Examples
/// ```
/// let guard = gracealloc::read_owned();
/// std::thread::spawn(move || drop(guard)).join().unwrap();
/// gracealloc::synchronize();
/// ```
pub fn read_owned() -> OwnedReadGuard {
    grace::note_owned(true);
    OwnedReadGuard { parity: grace::enter(), generation: grace::generation() }
}

/// A reader that is no thread; see [`read_owned`].
#[must_use = "the section ends when the guard is dropped"]
#[derive(Debug)]
pub struct OwnedReadGuard {
    parity: Parity,
    generation: u32,
}

impl Drop for OwnedReadGuard {
    fn drop(&mut self) {
        if self.generation == grace::generation() {
            grace::leave(self.parity);
            grace::note_owned(false);
        }
    }
}
