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

/// A full fence between an atomic addition and a load that are both SeqCst. Native SeqCst accesses have one order among
/// themselves, and with fences, so nothing is left to do; loom takes them for weaker ones. That is true of these two alone: in
/// front of an Acquire or a Relaxed load, as where counts are added up, the fence must be there (on aarch64 a SeqCst store may
/// be seen after an `ldapr` behind it).
pub(crate) fn full_fence() {
    #[cfg(loom)]
    fence(Ordering::SeqCst);
}
