//! The door to atomic context, for programs.

use crate::cache;
use crate::context::{self, AtomicSection};
use crate::slow_path::SlowPath;

/// Opens a section in which this thread must not block; it nests, and ends on the thread that opened it.
///
/// Inside, allocation and deallocation take no lock and make no system call: `alloc` is served from the per-CPU caches,
/// the depot and the pre-faulted reserve, and returns null when they have nothing, and always for objects above 32 KiB
/// (on null `Box` and `Vec` end the process: use `std::alloc::alloc` or the `try_` methods). `dealloc` and
/// [`deferred_free`](crate::deferred_free) cannot fail. The first allocation of a process makes a few system calls wherever
/// it happens. A guard that is leaked leaves its thread in atomic context for ever.
///
/// The first section of a process makes the reserve resident before it begins, with a few system calls and, for a moment,
/// locks: where that would come at the wrong time, open one early. If it is opened in atomic context, by a handler that
/// interrupted the allocator, the next caller that may block does so; until then what the reserve gives out may fault.
///
/// A signal handler opens one before it allocates or frees. Where restartable sequences are in use (see
/// [`Stats::rseq`](crate::Stats::rseq)) both are then async-signal-safe, on threads that libc has started; elsewhere a handler that meets the slot of the
/// operation it interrupted goes round it, which is safe as well.
///
/// # Examples
/// ```
/// use gracealloc::{Context, atomic_section, context};
///
/// let section = atomic_section();
/// assert_eq!(context(), Context::Atomic);
/// drop(section);
/// assert_eq!(context(), Context::Preemptible);
/// ```
#[inline]
pub fn atomic_section() -> AtomicSection {
    if !cache::is_atomic_expected() {
        expect_atomic();
    }
    context::atomic_section()
}

#[cold]
#[inline(never)]
fn expect_atomic() {
    cache::expect_atomic(&SlowPath::enter());
}
