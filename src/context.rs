//! What this thread may do now: block, wait for other people's locks, or neither.
//!
//! A count per thread. Every slow path of ours raises it, and so does [`atomic_section`]; while it is above zero the
//! thread is in atomic context. So a signal handler that lands in one of our slow paths sees atomic context by itself.
//! A handler that lands in *somebody else's* non-reentrant code cannot be told apart from ordinary code, which is why
//! handlers open an atomic section.
//!
//! ```text
//!   count 0                 preemptible, or reader (a question only the public face asks)
//!   count 1 and more        atomic
//! ```
//!
//! Invariant: the count is raised before the first thing that must not be re-entered and lowered after the last. Both
//! are plain loads and stores of this thread's own cell: a handler between the two leaves the count as it found it.

use crate::platform::thread_cell::thread_cell;
use core::marker::PhantomData;
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

thread_cell! {
    static COUNT: u32 = 0, "gracealloc_context_count";
}
thread_cell! {
    /// This thread is inside crossbeam on our behalf.
    static IN_CROSSBEAM: bool = false, "gracealloc_in_crossbeam";
}

/// What the calling thread may do at this moment.
///
/// The idea, and the trouble with guessing it from outside, come from the Linux kernel's `kvfree_rcu()` discussion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// May block: everybody who is nothing else.
    Preemptible,
    /// Inside a read-side section: may take locks and make system calls, never wait for a grace period.
    Reader,
    /// Must not block at all: inside an [`atomic_section`], or nested in a slow path of the allocator itself.
    Atomic,
}

/// What this thread may do at this moment.
///
/// Inside an [`atomic_section`] the answer is [`Context::Atomic`] and costs one load. Outside, a thread that holds a
/// guard of crossbeam-epoch's default collector is a reader; asking crossbeam allocates on a thread's first use, and while
/// a thread's local variables are being destroyed the answer may be wrong.
///
/// # Examples
/// ```
/// use gracealloc::{Context, context};
///
/// assert_eq!(context(), Context::Preemptible);
/// let guard = crossbeam_epoch::pin();
/// assert_eq!(context(), Context::Reader);
/// drop(guard);
/// ```
pub fn context() -> Context {
    if is_atomic() {
        Context::Atomic
    } else if is_pinned() {
        Context::Reader
    } else {
        Context::Preemptible
    }
}

fn is_pinned() -> bool {
    let _critical = InCrossbeam::enter(); // it allocates on a thread's first use
    crossbeam_epoch::is_pinned()
}

/// As long as it lives, this thread is inside crossbeam (or the like) on our behalf: what it allocates there is served
/// normally, and from the reserve where there is nothing else, because crossbeam ends the process when it gets none.
pub(crate) struct InCrossbeam {
    outer: bool,
}

impl InCrossbeam {
    pub(crate) fn enter() -> Self {
        Self { outer: IN_CROSSBEAM.replace(true) }
    }
}

impl Drop for InCrossbeam {
    fn drop(&mut self) {
        IN_CROSSBEAM.set(self.outer);
    }
}

/// Whether this thread is inside crossbeam on our behalf.
pub(crate) fn is_in_crossbeam() -> bool {
    IN_CROSSBEAM.get()
}

/// Keeps the thread in atomic context until it is dropped; see [`atomic_section`].
#[must_use = "the section ends when the guard is dropped"]
#[derive(Debug)]
pub struct AtomicSection {
    _not_send: PhantomData<*mut ()>,
}

/// Opens a section in which this thread must not block; it nests, and ends on the thread that opened it.
///
/// Inside, allocation and deallocation take no lock and make no system call: `alloc` is served from the per-CPU caches,
/// the depot and the pre-faulted reserve, and returns null when they have nothing, and always for objects above 32 KiB
/// (on null `Box` and `Vec` end the process: use `std::alloc::alloc` or the `try_` methods). `dealloc` and
/// [`deferred_free`](crate::deferred_free) cannot fail. The first allocation of a process makes a few system calls wherever
/// it happens. A guard that is leaked leaves its thread in atomic context for ever.
///
/// A signal handler opens one before it allocates or frees. Where restartable sequences are in use (see
/// [`Stats::rseq`](crate::Stats::rseq)) both are then async-signal-safe; elsewhere a handler that meets the slot of the
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
pub fn atomic_section() -> AtomicSection {
    raise();
    AtomicSection { _not_send: PhantomData }
}

impl Drop for AtomicSection {
    fn drop(&mut self) {
        lower();
    }
}

fn raise() {
    COUNT.set(COUNT.get() + 1);
    compiler_fence(SeqCst); // a handler on this thread must see the count before anything that follows
}

fn lower() {
    compiler_fence(SeqCst); // ... and everything before, before the count
    COUNT.set(COUNT.get() - 1);
}

/// Ends a section whose guard was forgotten: fork opens it in one handler and ends it in another.
pub(crate) fn end_forgotten() {
    lower();
}

/// Whether this thread is in atomic context.
pub(crate) fn is_atomic() -> bool {
    COUNT.get() != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_nest() {
        assert!(!is_atomic());
        let outer = atomic_section();
        let inner = atomic_section();
        drop(outer);
        assert!(is_atomic(), "the inner section is still open");
        drop(inner);
        assert!(!is_atomic());
    }
}
