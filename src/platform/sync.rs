//! Atomics that the model checker can replace.
//!
//! Every structure that loom models takes its atomics from here; with `--cfg loom` they are loom's, which run a test
//! body under every schedule and every value a weaker ordering permits.

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

/// One turn of a bounded wait.
pub(crate) fn spin_hint() {
    #[cfg(loom)]
    loom::thread::yield_now();
    #[cfg(not(loom))]
    core::hint::spin_loop();
}

/// A full fence behind an atomic addition that is SeqCst. Native SeqCst accesses have one order among themselves, so nothing
/// is left to do; loom takes them for weaker ones.
pub(crate) fn full_fence() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
