//! A lock for the slow paths: three states, the third meaning that someone sleeps (Drepper, "Futexes Are Tricky").
//!
//! Only code that has raised the thread's context count holds one, so a signal handler sees atomic context and never
//! asks for a lock that its own thread holds.

use super::futex;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

const FREE: u32 = 0;
const HELD: u32 = 1;
const AWAITED: u32 = 2;

/// How often a held lock is looked at before sleeping.
const SPINS: u32 = 100;

/// A mutual exclusion lock around a value. No poisoning: nothing panics while it is held.
pub(crate) struct Lock<T> {
    state: AtomicU32,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached only while the lock is held.
unsafe impl<T: Send> Sync for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { state: AtomicU32::new(FREE), value: UnsafeCell::new(value) }
    }

    /// Takes the lock, waiting for it if need be.
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        // Acquire: pairs with the Release in `unlock`.
        if self.state.compare_exchange(FREE, HELD, Acquire, Relaxed).is_err() {
            self.wait();
        }
        Guard { lock: self }
    }

    #[cold]
    fn wait(&self) {
        for _ in 0..SPINS {
            if self.state.load(Relaxed) == FREE && self.state.compare_exchange(FREE, HELD, Acquire, Relaxed).is_ok() {
                return;
            }
            core::hint::spin_loop();
        }
        while self.state.swap(AWAITED, Acquire) != FREE {
            futex::wait(&self.state, AWAITED, None);
        }
    }

    /// Leaves a lock that this thread holds without a guard: for fork, which holds it across two handlers.
    ///
    /// # Safety
    /// - This thread holds the lock and its guard was forgotten.
    pub(crate) unsafe fn unlock(&self) {
        if self.state.swap(FREE, Release) == AWAITED {
            futex::wake(&self.state, 1);
        }
    }
}

/// Holds a [`Lock`]; dropping it leaves the lock.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the lock is held.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held, and this guard is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> Drop for Guard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: this guard holds it.
        unsafe { self.lock.unlock() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_thread_is_inside() {
        let (lock, each) = (Lock::new(0u64), if cfg!(miri) { 50 } else { 20_000 });
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| (0..each).for_each(|_| *lock.lock() += 1));
            }
        });
        assert_eq!(*lock.lock(), 4 * each);
    }
}
