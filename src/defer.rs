//! Deferred frees and drops: what the caller's context permits, decided here.
//!
//! ```text
//!   deferred_free     one section, into the page in this CPU's slot; else
//!     overflow          a fresh page; a page sealed: preemptible callers push grace periods on now and then
//!     exhausted         no page: preemptible callers wait for a grace period, within a limit; readers, atomic callers
//!                       and those whose wait was in vain set the object's mark
//! ```
//!
//! crossbeam is entered outside of every slow path and with no lock of ours.

use crate::context::{self, Context, context};
use crate::deferred::{self, Deferred, Destructor, Left};
use crate::grace::Pace;
use crate::platform::fatal::fatal;
use crate::platform::{clock, errno};
use crate::size_class::{Kind, SizeClass};
use crate::slow_path::SlowPath;
use crate::{cache, global, grace, slab, tunables};
use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;

pub(crate) use crate::deferred::Object;

/// Gives a block back once every reader has left that was active at the call.
///
/// Readers hold a guard of [`read`](crate::read), of [`read_owned`](crate::read_owned), or of crossbeam-epoch's default
/// collector (`crossbeam_epoch::pin()`). The call costs about what a free costs: the pointer goes into a page of pointers on this CPU. A full page waits for one grace
/// period as a whole, and then is a full magazine of the allocator, without an object having been touched.
///
/// It never fails and never loses the pointer. It blocks only where the page budget
/// ([`Config::budget_bytes`](crate::Config::budget_bytes)) is spent or no page is to be had, *and* the caller may block:
/// then it waits for a grace period, at most for the wait limit. A reader or a caller in an
/// [`atomic_section`](crate::atomic_section) never waits: then, too, the object is marked where it stands and collected
/// later. In preemptible context it may push grace periods on, which runs functions that other code has deferred with
/// crossbeam, as any `crossbeam_epoch::pin()` does.
///
/// Null is permitted and does nothing. Any store before the call on this thread unlinks the block, a Relaxed one too; where
/// another thread has unlinked it, that has to happen before the call. The idea, and the batching in pages, are those of
/// `kvfree_rcu()` in the Linux kernel (`mm/slab_common.c`).
///
/// # Panics
/// - If a function that other code has deferred with crossbeam panics meanwhile. The block is deferred all the same.
///
/// # Safety
/// - The block was allocated by [`GraceAlloc`](crate::GraceAlloc) (as the global allocator or directly) with this layout.
/// - It is unlinked: nobody who becomes a reader after the call can reach it.
/// - Nobody but readers from before the call uses it any more, and what it holds needs no drop or was dropped.
/// - It is not given back elsewhere, nor deferred twice.
///
/// # Examples
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
/// use std::sync::atomic::{AtomicPtr, Ordering::{AcqRel, Acquire}};
/// use gracealloc::{GraceAlloc, deferred_free};
///
/// static CURRENT: AtomicPtr<u64> = AtomicPtr::new(std::ptr::null_mut());
/// let layout = Layout::new::<u64>();
/// # // SAFETY: the layout has a size; what is replaced is unlinked and was published by the lines above.
/// unsafe {
///     let first = GraceAlloc.alloc(layout).cast::<u64>();
///     first.write(1);
///     CURRENT.store(first, std::sync::atomic::Ordering::Release);
///
///     let guard = crossbeam_epoch::pin(); // a reader
///     let seen = CURRENT.load(Acquire);
///     let old = CURRENT.swap(std::ptr::null_mut(), AcqRel); // a writer unlinks ...
///     deferred_free(old.cast(), layout); // ... and need not wait
///     assert_eq!(*seen, 1); // still there
///     drop(guard);
/// }
/// ```
#[inline]
pub unsafe fn deferred_free(ptr: *mut u8, layout: Layout) {
    if ptr.is_null() || !SizeClass::of_plain(layout).is_some_and(|class| deferred::push(class, ptr)) {
        defer_slow(ptr, layout);
    }
}

/// What the fast path has no room for.
#[cold]
#[inline(never)]
pub(crate) fn defer_slow(object: *mut u8, layout: Layout) {
    match SizeClass::of(layout) {
        _ if object.is_null() => {}
        Ok(class) if deferred::push_any(class, object) => {}
        Ok(class) => overflow(class, object),
        Err(kind) => defer_other(kind, object, layout),
    }
}

/// [`deferred_free`] for many blocks of one layout. Nulls among them are skipped.
///
/// # Safety
/// - As for [`deferred_free`], for each.
///
/// # Examples
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
///
/// let layout = Layout::new::<[u64; 4]>();
/// // SAFETY: the layout has a size, and nobody else has seen these blocks.
/// unsafe {
///     let blocks: Vec<_> = (0..100).map(|_| gracealloc::GraceAlloc.alloc(layout)).collect();
///     gracealloc::deferred_free_bulk(&blocks, layout);
/// }
/// ```
pub unsafe fn deferred_free_bulk(ptrs: &[*mut u8], layout: Layout) {
    let mut rest = Rest { ptrs: ptrs.iter(), layout };
    for &ptr in rest.ptrs.by_ref() {
        // SAFETY: handed on to the caller.
        unsafe { deferred_free(ptr, layout) };
    }
}

/// What is left of a slice if a function of somebody else's, run on the way, panics: deferred without entering crossbeam.
struct Rest<'a> {
    ptrs: core::slice::Iter<'a, *mut u8>,
    layout: Layout,
}

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let _section = context::atomic_section();
        for &ptr in self.ptrs.by_ref() {
            // SAFETY: handed on to the caller of `deferred_free_bulk`.
            unsafe { deferred_free(ptr, self.layout) };
        }
    }
}

fn overflow(class: SizeClass, object: *mut u8) {
    if !cache::is_ready() {
        fatal("deferred free of a pointer that is not an object", object, None);
    }
    let outcome = deferred::overflow(class, object, &SlowPath::enter());
    match outcome {
        Deferred::Done => notice(),
        Deferred::Sealed => push_on(),
        Deferred::Exhausted => exhausted(class, object),
    }
}

/// Sees to it that somebody looks after what waits.
fn notice() {
    let _errno = errno::Saved::new();
    if context::is_atomic() { deferred::want_worker() } else { deferred::wake_worker() }
}

/// Pushes grace periods on, or has the worker do it.
fn push_on() {
    let _errno = errno::Saved::new();
    match context() {
        Context::Preemptible => step(),
        Context::Reader => {
            deferred::hurry();
        }
        Context::Atomic => deferred::want_worker(),
    }
}

fn step() {
    deferred::wake_worker();
    grace::step();
    if !deferred::worker_runs() {
        deferred::report_stall();
    }
}

/// Callers that waited for a grace period because there was no page, and for how long together.
static WAITS: AtomicU64 = AtomicU64::new(0);
static WAITED_NS: AtomicU64 = AtomicU64::new(0);
/// A wait looks this often whether a page has come free.
const LOOK: Duration = Duration::from_millis(1);
/// The longest wait while somebody holds an owned guard, perhaps who waits.
const LIMIT_OF_OWNERS_MS: u64 = 10;

/// Inline waits so far, and the nanoseconds they took together.
pub(crate) fn inline_waits() -> (u64, u64) {
    (WAITS.load(Relaxed), WAITED_NS.load(Relaxed))
}

#[cold]
fn exhausted(class: SizeClass, object: *mut u8) {
    {
        let unplaced = Unplaced { class, object };
        if context() == Context::Preemptible && wait(|elapsed, slow| place(class, object, elapsed, slow)) {
            core::mem::forget(unplaced);
        }
    }
    notice();
}

/// An object that is marked unless a place is found: also if a function of somebody else's, run on the way, panics.
struct Unplaced {
    class: SizeClass,
    object: *mut u8,
}

impl Drop for Unplaced {
    fn drop(&mut self) {
        let _slow = SlowPath::enter();
        deferred::mark(self.class, self.object);
    }
}

/// Frees the object if its grace period is over, else puts it into a page if there is one now.
fn place(class: SizeClass, object: *mut u8, elapsed: bool, slow: &SlowPath) -> bool {
    if elapsed {
        if !cache::free(class, object) {
            cache::free_slow(class, object);
        }
        return true;
    }
    deferred::overflow(class, object, slow) != Deferred::Exhausted
}

/// Waits for a grace period, at most for the wait limit. `done` is asked again and again, and told whether it is over.
fn wait(done: impl Fn(bool, &SlowPath) -> bool) -> bool {
    let _errno = errno::Saved::new();
    let begin = clock::now_ns();
    let position = grace::snapshot();
    deferred::wake_worker();
    let waited = loop {
        let left = (begin + wait_limit_ms() * 1_000_000).saturating_sub(clock::now_ns());
        let elapsed = grace::wait(position, Some(LOOK.min(Duration::from_nanos(left))), Pace::Normal);
        let slow = SlowPath::enter();
        deferred::ripen(&slow);
        if done(elapsed, &slow) {
            break true;
        }
        if left == 0 || elapsed {
            break false;
        }
    };
    WAITS.fetch_add(1, Relaxed);
    WAITED_NS.fetch_add(clock::now_ns().saturating_sub(begin), Relaxed);
    waited
}

/// While a guard is open that may move between threads, the waiter may be its owner: then waits are short.
fn wait_limit_ms() -> u64 {
    let limit = tunables::WAIT_LIMIT_MS.load(Relaxed);
    if grace::has_owned() { limit.min(LIMIT_OF_OWNERS_MS) } else { limit }
}

fn defer_other(kind: Kind, object: *mut u8, layout: Layout) {
    if kind == Kind::Nothing {
        return; // nothing was allocated
    }
    let room = || deferred::has_room_for_large(layout.size());
    {
        let unplaced = UnplacedLarge { object, layout };
        let over = Cell::new(false);
        if !room() && context() == Context::Preemptible {
            wait(|elapsed, _| {
                over.set(elapsed);
                elapsed || room()
            });
        }
        if over.get() {
            core::mem::forget(unplaced);
            let _slow = SlowPath::enter();
            return slab::large::free(object, layout); // its grace period is over
        }
    }
    push_on();
    let slow = SlowPath::enter();
    deferred::ripen_large(&slow);
}

/// As [`Unplaced`], for a large object, which always finds its place.
struct UnplacedLarge {
    object: *mut u8,
    layout: Layout,
}

impl Drop for UnplacedLarge {
    fn drop(&mut self) {
        deferred::defer_large(self.object, self.layout, &SlowPath::enter());
    }
}

/// There is no place for the entry of a destructor; see [`try_defer_drop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no place for another deferred drop")
    }
}

impl core::error::Error for Full {}

/// Drops a boxed value once every reader has left that was active at the call.
///
/// The destructor runs on the allocator's worker thread, whose stack has the system's default size (128 KiB with musl), so it
/// should not recurse deeply; with the worker off, in [`drive`] and [`barrier`], whose callers hold no lock that a destructor
/// wants. A destructor that panics ends the process, and [`barrier`] panics inside one.
/// When many wait (512), a preemptible caller waits too, at most for the wait limit. The value's entry needs memory. Without
/// it, and in an [`atomic_section`](crate::atomic_section) when the entries made beforehand are used up, the value is leaked
/// and counted: there use [`try_defer_drop`].
///
/// A value that holds an [`OwnedReadGuard`](crate::OwnedReadGuard) waits for itself: it is never dropped, and no grace period
/// ends any more.
///
/// # Panics
/// - If a function that other code has deferred with crossbeam panics meanwhile. The value is deferred all the same.
///
/// # Safety
/// - `ptr` came from [`Box::into_raw`]. Nobody but readers from before the call uses the value any more, and it is not dropped or
///   deferred elsewhere.
/// - The value is unlinked: nobody who becomes a reader after the call can reach it.
///
/// # Examples
/// ```
/// let name = Box::into_raw(Box::new(String::from("old")));
/// // SAFETY: from a box, and nobody else has seen it.
/// unsafe { gracealloc::defer_drop(name) };
/// gracealloc::barrier(); // it has been dropped
/// ```
pub unsafe fn defer_drop<T: ?Sized + Send + 'static>(ptr: *mut T) {
    leave_or_leak(destructor(ptr, drop_box::<T>));
}

/// As [`defer_drop`], for a value that did not come from a box: `function` drops it and gives its memory back, and finds it
/// with [`pointer_in`].
///
/// # Safety
/// - As for [`defer_drop`], but for the box.
/// - `function` may be called with this object, once, on any thread.
pub(crate) unsafe fn defer_drop_with<T: Send + 'static>(ptr: *mut T, function: unsafe fn(Object)) {
    leave_or_leak(destructor(ptr, function));
}

fn leave_or_leak(destructor: Destructor) {
    if !leave(destructor) {
        deferred::count_leaked_drop();
    }
}

/// As [`defer_drop`], but an entry that has no place is an error, and the value is the caller's as before.
///
/// # Errors
/// - [`Full`]: there is no memory for an entry, or, in an [`atomic_section`](crate::atomic_section), those that were made
///   beforehand (64) are in use.
///
/// # Panics
/// - As [`defer_drop`].
///
/// # Safety
/// - As for [`defer_drop`]; on an error nothing was done.
///
/// # Examples
/// ```
/// let value = Box::into_raw(Box::new([1, 2, 3])); // before the section: a box ends the process without memory
/// let section = gracealloc::atomic_section();
/// // SAFETY: from a box, and nobody else has seen it.
/// unsafe { gracealloc::try_defer_drop(value)? };
/// drop(section);
/// # Ok::<(), gracealloc::Full>(())
/// ```
pub unsafe fn try_defer_drop<T: ?Sized + Send + 'static>(ptr: *mut T) -> Result<(), Full> {
    if leave(destructor(ptr, drop_box::<T>)) { Ok(()) } else { Err(Full) }
}

fn leave(destructor: Destructor) -> bool {
    if !global::is_started() {
        return false; // no memory to begin with
    }
    let left = if context::is_atomic() { deferred::leave_in_pool(destructor) } else { leave_or_wait(destructor) };
    notice();
    left == Left::Yes
}

/// Leaves it in the queue, which bounds how many wait; a reader, and who has waited in vain, goes beyond that.
fn leave_or_wait(destructor: Destructor) -> Left {
    let placed = Cell::new(deferred::leave(destructor, false));
    if placed.get() == Left::Full && context() == Context::Preemptible && !deferred::is_dropping() {
        let unplaced = UnplacedDrop(destructor);
        wait(|_, _| {
            placed.set(deferred::leave(destructor, false));
            placed.get() != Left::Full
        });
        core::mem::forget(unplaced);
    }
    if placed.get() == Left::Full { deferred::leave(destructor, true) } else { placed.get() }
}

/// As [`Unplaced`], for an entry.
struct UnplacedDrop(Destructor);

impl Drop for UnplacedDrop {
    fn drop(&mut self) {
        if deferred::leave(self.0, true) != Left::Yes {
            deferred::count_leaked_drop();
        }
    }
}

/// How to drop what is behind a pointer of any kind.
fn destructor<T: ?Sized>(ptr: *mut T, function: unsafe fn(Object)) -> Destructor {
    const { assert!(size_of::<*mut T>() <= size_of::<Object>()) };
    let mut object = Object::uninit();
    // SAFETY: the object has room for a pointer of any kind, as asserted; it need not be aligned like one.
    unsafe { object.as_mut_ptr().cast::<*mut T>().write_unaligned(ptr) };
    Destructor { function, object }
}

/// The pointer that an object was made of.
///
/// # Safety
/// - [`destructor`] made it of a pointer to a `T`.
pub(crate) unsafe fn pointer_in<T: ?Sized>(object: Object) -> *mut T {
    // SAFETY: handed on to the caller.
    unsafe { object.as_ptr().cast::<*mut T>().read_unaligned() }
}

/// # Safety
/// - `object` is what [`destructor`] made of a pointer to a `T` that came from a box, and this is called once.
unsafe fn drop_box<T: ?Sized>(object: Object) {
    // SAFETY: handed on to the caller.
    unsafe { drop(Box::from_raw(pointer_in::<T>(object))) };
}

/// Waits until everything that was deferred before the call has been given back, and dropped what is to be dropped.
///
/// "Before" is what happens before, on any thread. What [`synchronize`](crate::synchronize) does not do: it waits for
/// readers, not for what other threads have in hand, and gives nothing back. A reader that never leaves makes this wait
/// for ever. Where the kernel starts to refuse membarriers while the program runs (a filter of system calls), what stands
/// in pages of other CPUs is not waited for any more; that is reported once.
///
/// # Panics
/// - As [`synchronize`](crate::synchronize): its caller is no reader, and holds no [`OwnedReadGuard`](crate::OwnedReadGuard).
/// - Inside a destructor that was deferred with [`defer_drop`].
///
/// # Examples
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
///
/// let layout = Layout::new::<u64>();
/// // SAFETY: the layout has a size, and nobody else has seen the block.
/// unsafe { gracealloc::deferred_free(gracealloc::GraceAlloc.alloc(layout), layout) };
/// gracealloc::barrier();
/// assert_eq!(gracealloc::stats().deferred_objects, 0);
/// ```
pub fn barrier() {
    assert!(!deferred::is_dropping(), "gracealloc::barrier in a deferred destructor would wait for itself");
    crate::grace_period::expect_preemptible("barrier");
    let _errno = errno::Saved::new();
    loop {
        let all = deferred::seal_all();
        grace::wait(grace::snapshot(), None, Pace::Normal);
        deferred::ripen_patiently();
        deferred::run_all_destructors();
        if all {
            return;
        }
    }
}

/// One step of what the worker does, for programs that have it off: seals open pages, pushes grace periods on, takes back
/// what is due and (only if there is no worker) runs destructors. Returns whether something still waits, which it does for
/// as long as a reader stays.
///
/// Only in preemptible context; elsewhere it does nothing but answer. It holds no lock while it runs other people's
/// destructors, and its caller should hold none that they want.
///
/// # Panics
/// - If a function that other code has deferred with crossbeam panics.
///
/// # Examples
/// ```
/// while gracealloc::drive() {
///     std::thread::yield_now();
/// }
/// ```
pub fn drive() -> bool {
    if context() == Context::Preemptible {
        let _errno = errno::Saved::new();
        deferred::maintain();
        grace::step();
        deferred::ripen(&SlowPath::enter());
        if !deferred::worker_runs() {
            deferred::run_due_destructors();
        }
        deferred::report_stall();
    }
    deferred::is_pending()
}
