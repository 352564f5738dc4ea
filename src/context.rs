//! What this thread may do now: block, wait for other people's locks, or neither.
//!
//! A count per thread. Every slow path of ours raises it, and so does [`atomic_section`](crate::atomic_section); while it is above zero the
//! thread is in atomic context. So a signal handler that lands in one of our slow paths sees atomic context by itself.
//! A handler that lands in *somebody else's* non-reentrant code cannot be told apart from ordinary code, which is why
//! handlers open an atomic section.
//!
//! ```text
//!   count 0                 preemptible, or reader: `READING` counts our own, crossbeam's are asked after (by the public
//!                           face alone)
//!   count 1 and more        atomic
//! ```
//!
//! Invariant: the count is raised before the first thing that must not be re-entered and lowered after the last. Both
//! are plain loads and stores of this thread's own cell: a handler between the two leaves the count as it found it.

use crate::platform::thread_cell::thread_cell;
use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

thread_cell! {
    static COUNT: u32 = 0, "gracealloc_context_count";
}
thread_local! {
    /// Guards of our own readers that are open on this thread; with [`INHERITED`] where a fork lies in between. An ordinary
    /// thread-local: allocation does not look at it, and it is read where programs inline it.
    static READING: Cell<u32> = const { Cell::new(0) };
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
    /// Must not block at all: inside an [`atomic_section`](crate::atomic_section), or nested in a slow path of the allocator itself.
    Atomic,
}

/// What this thread may do at this moment.
///
/// Inside an [`atomic_section`](crate::atomic_section) the answer is [`Context::Atomic`] and costs one load. Outside, a thread is a reader that
/// holds a [`ReadGuard`](crate::ReadGuard) or a guard of crossbeam-epoch's default collector; asking crossbeam allocates on
/// a thread's first use, and while a thread's local variables are being destroyed its answer may be wrong. Who holds an
/// [`OwnedReadGuard`](crate::OwnedReadGuard) cannot be known.
///
/// # Examples
/// ```
/// use gracealloc::{Context, context};
///
/// assert_eq!(context(), Context::Preemptible);
/// let guard = gracealloc::read();
/// assert_eq!(context(), Context::Reader);
/// drop(guard);
/// ```
pub fn context() -> Context {
    if is_atomic() {
        Context::Atomic
    } else if is_reading() || is_pinned() {
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

/// Keeps the thread in atomic context until it is dropped; see [`atomic_section`](crate::atomic_section).
#[must_use = "the section ends when the guard is dropped"]
#[derive(Debug)]
pub struct AtomicSection {
    _not_send: PhantomData<*mut ()>,
}

/// Opens a section; the public [`atomic_section`](crate::atomic_section) also prepares for what it brings.
pub(crate) fn atomic_section() -> AtomicSection {
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

/// In the child of a fork that happened with guards open: from there on all guards of this thread, also new ones, are
/// one reader, since which parity each came under is not known any more.
const INHERITED: u32 = 1 << 31;

/// A guard of our own readers is about to be opened; whether it is to be counted in.
///
/// The first one stores a constant: adding would make each guard wait for the store of the one before.
#[inline(always)]
pub(crate) fn begin_read() -> bool {
    if READING.get() != 0 {
        return begin_nested_read();
    }
    READING.set(1);
    compiler_fence(SeqCst); // a handler that waited for readers would wait for this one
    true
}

#[inline(never)]
fn begin_nested_read() -> bool {
    let count = READING.get() + 1;
    READING.set(count);
    compiler_fence(SeqCst);
    count & INHERITED == 0
}

/// Whether this thread has one guard, which is no inherited one.
#[inline(always)]
pub(crate) fn is_reading_once() -> bool {
    READING.get() == 1
}

/// Whether this thread's guards are one reader.
pub(crate) fn is_inherited() -> bool {
    READING.get() & INHERITED != 0
}

/// The only guard has been counted out.
#[inline(always)]
pub(crate) fn end_read() {
    compiler_fence(SeqCst);
    READING.set(0);
}

/// One of several has been counted out.
pub(crate) fn end_nested_read() {
    compiler_fence(SeqCst);
    READING.set(READING.get().saturating_sub(1)); // a guard that outlived its handler may be in no count
}

/// A guard of several that are one reader is dropped; whether it was the last of them, who leaves for all.
pub(crate) fn end_inherited_read() -> bool {
    let left = READING.get() - 1;
    READING.set(if left == INHERITED { 0 } else { left });
    left == INHERITED
}

/// In the child of a fork: what guards this thread has are one reader from now on. Whether it has any.
pub(crate) fn inherit_reads() -> bool {
    let any = is_reading();
    READING.set(if any { READING.get() | INHERITED } else { 0 });
    any
}

/// Whether this thread has guards of our own readers.
pub(crate) fn is_reading() -> bool {
    READING.get() != 0
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
