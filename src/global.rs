//! The allocator's face: which layer serves a call, and what is tried when it has nothing.
//!
//! ```text
//!   alloc, dealloc      one section; else
//!     slow                the section for larger alignments, or the fallback's try-lock; else
//!       refill, overflow    start up if that has not happened, the cache's slow path, then reclaim and once more
//!     large               sizes and alignments above the classes: the backing, with a record
//! ```
//!
//! Nothing below calls upward: a layer that has nothing returns null or `None`, and here is decided what comes next.

use crate::context;
use crate::platform::lock::Lock;
use crate::platform::thread_cell::thread_cell;
use crate::platform::{errno, fork, load, pin};
use crate::size_class::{Kind, SizeClass};
use crate::slow_path::SlowPath;
use crate::{cache, config, deferred, grace, slab, tunables};
use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::time::Duration;
use once_cell::race::OnceBool;

/// The allocator: a unit struct, since one process has one heap.
///
/// # Examples
/// As the program's global allocator:
/// ```
/// #[global_allocator]
/// static GLOBAL: gracealloc::GraceAlloc = gracealloc::GraceAlloc;
///
/// assert!(gracealloc::is_global());
/// assert_eq!(vec![1, 2, 3].len(), 3);
/// ```
/// Directly, beside whatever the global allocator is:
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
///
/// let layout = Layout::new::<[u64; 8]>();
/// // SAFETY: the layout has a size; what was allocated is freed once, with the same layout.
/// unsafe {
///     let ptr = gracealloc::GraceAlloc.alloc(layout);
///     assert!(!ptr.is_null());
///     gracealloc::GraceAlloc.dealloc(ptr, layout);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GraceAlloc;

impl GraceAlloc {
    /// The allocator, for a `static`.
    pub const fn new() -> Self {
        Self
    }
}

// SAFETY: blocks come from spans or the backing, disjoint and large and aligned enough for their layout, and stay put
// until they are freed; nothing unwinds.
unsafe impl GlobalAlloc for GraceAlloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let object = SizeClass::of_plain(layout).map_or(ptr::null_mut(), cache::alloc);
        if object.is_null() { alloc_slow(layout) } else { object }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        if !SizeClass::of_plain(layout).is_some_and(|class| cache::free(class, ptr)) {
            free_slow(ptr, layout);
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match SizeClass::of(layout) {
            Ok(_) if !is_started() => ptr::null_mut(),
            Ok(class) => alloc_zeroed(class),
            Err(kind) => alloc_other(kind, layout, true),
        }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
        // SAFETY: handed on to the caller.
        unsafe { self.realloc_as(ptr, layout, new) }
    }
}

impl GraceAlloc {
    /// # Safety
    /// - As for `GlobalAlloc::realloc`. Only a large block that becomes a small one may have another alignment.
    pub(crate) unsafe fn realloc_as(&self, ptr: *mut u8, layout: Layout, new: Layout) -> *mut u8 {
        match (SizeClass::of(layout), SizeClass::of(new)) {
            (Ok(old), Ok(new)) if old == new => ptr,
            (Err(_), Err(_)) if !context::is_atomic() => realloc_large(ptr, layout, new),
            // SAFETY: handed on to the caller.
            _ => unsafe { self.realloc_by_copy(ptr, layout, new) },
        }
    }

    /// # Safety
    /// - As for `GlobalAlloc::realloc`.
    unsafe fn realloc_by_copy(&self, ptr: *mut u8, old: Layout, new: Layout) -> *mut u8 {
        // SAFETY: the sizes are not zero; both blocks are as long as what is copied, and the old one is freed once.
        unsafe {
            let moved = self.alloc(new);
            if !moved.is_null() {
                ptr::copy_nonoverlapping(ptr, moved, old.size().min(new.size()));
                self.dealloc(ptr, old);
            }
            moved
        }
    }
}

/// What the fast path has nothing for. It takes the layout as it came, so that the fast path has nothing to move for it.
#[cold]
#[inline(never)]
fn alloc_slow(layout: Layout) -> *mut u8 {
    let class = match SizeClass::of(layout) {
        Ok(class) => class,
        Err(kind) => return alloc_other(kind, layout, false),
    };
    let object = cache::alloc_any(class);
    if object.is_null() { refill(class) } else { object }
}

#[inline(never)]
fn refill(class: SizeClass) -> *mut u8 {
    if is_started() { or_reclaim(|slow| cache::alloc_slow(class, slow)) } else { ptr::null_mut() }
}

fn alloc_zeroed(class: SizeClass) -> *mut u8 {
    let (mut object, mut zero) = (cache::alloc_any(class), false);
    if object.is_null() {
        let fresh = Cell::new(false);
        object = or_reclaim(|slow| {
            let (object, zero) = cache::alloc_zeroed_slow(class, slow);
            fresh.set(zero);
            object
        });
        zero = fresh.get();
    }
    if !object.is_null() && !zero {
        // SAFETY: an object of the class, ours alone.
        unsafe { ptr::write_bytes(object, 0, class.bytes()) };
    }
    object
}

/// What the fast path has no room for.
#[cold]
#[inline(never)]
pub(crate) fn free_slow(object: *mut u8, layout: Layout) {
    match SizeClass::of(layout) {
        Ok(class) if cache::free_any(class, object) => {}
        Ok(class) => overflow(class, object),
        Err(kind) => free_other(kind, object, layout),
    }
}

#[inline(never)]
fn overflow(class: SizeClass, object: *mut u8) {
    if is_started() {
        // else there was no memory to begin with, so this cannot be ours
        wake_worker();
        cache::free_slow(class, object);
    }
}

/// Starts or wakes the worker for atomic callers that have left something for it.
fn wake_worker() {
    if deferred::is_worker_wanted() && !context::is_atomic() {
        let _errno = errno::Saved::new();
        deferred::wake_worker();
    }
}

/// One thread at a time gives back what is cached and tries again: while one purges, what is being purged cannot be
/// had, and another's attempt would fail for no reason.
static RECLAIM: Lock<()> = Lock::new(());

/// Tries; without memory gives back what the caches hold, and tries once more.
fn or_reclaim(attempt: impl Fn(&SlowPath) -> *mut u8) -> *mut u8 {
    finish_start();
    wake_worker();
    let slow = SlowPath::enter();
    let object = attempt(&slow);
    if !object.is_null() || !slow.may_block() {
        return object;
    }
    let object = {
        let _alone = RECLAIM.lock();
        cache::reclaim();
        attempt(&slow)
    };
    if object.is_null() { or_wait(attempt, &slow) } else { object }
}

/// The longest wait of an allocation.
const LONGEST: Duration = Duration::from_millis(100);

/// Memory is exhausted. What waits for a grace period may come back if the worker gets through in time: crossbeam must not
/// be entered from here. A thread that *is* in crossbeam on our behalf gets the reserve instead, as a nested slow path
/// does: crossbeam ends the process when it has no memory.
///
/// Whether the caller is a reader of crossbeam's cannot be asked here (that, too, would enter it): one waits in vain, once.
#[cold]
fn or_wait(attempt: impl Fn(&SlowPath) -> *mut u8, slow: &SlowPath) -> *mut u8 {
    if context::is_in_crossbeam() {
        return attempt(&SlowPath::enter());
    }
    if context::is_reading() || !deferred::worker_runs() || !deferred::is_pending() {
        return ptr::null_mut();
    }
    let limit = Duration::from_millis(tunables::WAIT_LIMIT_MS.load(Relaxed)).min(LONGEST);
    deferred::seal_what_is_open(slow);
    grace::wait_for_others(grace::snapshot(), limit);
    let _alone = RECLAIM.lock();
    deferred::ripen(slow);
    cache::reclaim();
    attempt(slow)
}

#[cold]
#[inline(never)]
fn alloc_other(kind: Kind, layout: Layout, zeroed: bool) -> *mut u8 {
    if kind == Kind::Nothing || context::is_atomic() || !is_started() {
        return ptr::null_mut(); // the reserve has nothing of this size
    }
    or_reclaim(|slow| {
        cache::passing(slow);
        slab::large::alloc(layout, zeroed)
    })
}

fn realloc_large(ptr: *mut u8, layout: Layout, new: Layout) -> *mut u8 {
    or_reclaim(|slow| {
        cache::passing(slow);
        slab::large::realloc(ptr, layout, new)
    })
}

fn free_other(kind: Kind, object: *mut u8, layout: Layout) {
    if kind == Kind::Nothing {
        return; // nothing was allocated
    }
    let slow = SlowPath::enter();
    if slow.may_block() {
        slab::large::free(object, layout);
        cache::passing(&slow);
    } else {
        slab::large::mark_free(object, layout);
    }
}

/// Whether start-up has happened, or does now.
pub(crate) fn is_started() -> bool {
    cache::is_ready() || start()
}

/// Start-up, at the first slow path of the process: the options from the environment, then slots and depot. Threads may
/// race through here; nothing blocks. It also happens in atomic context if that is where the first call comes from: a
/// few system calls, once. False without memory.
#[cold]
fn start() -> bool {
    let _slow = SlowPath::enter();
    config::read_environment();
    config::init_cache()
}

/// The part of start-up that takes other people's locks: when the program is loaded, so that no other thread is in a slow
/// path while there are no fork handlers yet; failing that, in the first slow path that may block.
fn finish_start() {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.load(Relaxed) || context::is_atomic() || DONE.swap(true, Relaxed) {
        return;
    }
    let _slow = SlowPath::enter();
    pin::own_object(); // before anything is registered that points into this object
    slab::backing::touch(); // its fork handlers first, so that ours run before them and lock in order
    fork::register(before_fork, after_fork, in_child);
    deferred::prepare();
}

load::at_load!(at_load);

extern "C" fn at_load() {
    finish_start();
}

thread_cell! {
    /// This thread is in `fork` and holds our locks.
    static LOCKED: bool = false, "gracealloc_fork_locked";
}

/// A signal handler may have interrupted a slow path of ours and then fork: this thread may hold the very locks, so in
/// atomic context none is taken. Such a child may only do what is async-signal-safe anyway, which is to `exec`.
extern "C" fn before_fork() {
    if context::is_atomic() {
        return;
    }
    if !context::is_in_crossbeam() {
        grace::touch(); // a child that finds another thread's collector half made waits for it for ever
    }
    LOCKED.set(true);
    core::mem::forget(context::atomic_section()); // until after: nothing on this thread may want the locks
    deferred::lock_all();
    core::mem::forget(RECLAIM.lock());
    cache::lock_all();
}

extern "C" fn in_child() {
    if LOCKED.get() {
        cache::restart();
        deferred::restart();
    }
    after_fork();
}

extern "C" fn after_fork() {
    if !LOCKED.replace(false) {
        return;
    }
    // SAFETY: `before_fork` ran on this thread.
    unsafe {
        cache::unlock_all();
        RECLAIM.unlock();
        deferred::unlock_all();
    }
    context::end_forgotten();
}

/// Whether [`GraceAlloc`] is the program's global allocator, perhaps behind one that hands every layout on as it is. A library
/// may use it directly even where it is not.
///
/// Found out by one small allocation through the global allocator, the first time; while there is no memory for that
/// the answer is false.
///
/// # Examples
/// ```
/// // This program has the standard allocator.
/// assert!(!gracealloc::is_global());
/// ```
pub fn is_global() -> bool {
    static ANSWER: OnceBool = OnceBool::new();
    ANSWER.get_or_try_init(ask_whose_heap_it_is).unwrap_or(false)
}

/// Who serves the global allocator; an error if there is no memory to find out.
fn ask_whose_heap_it_is() -> Result<bool, ()> {
    let layout = Layout::new::<[u64; 8]>();
    // SAFETY: the layout has a size; freed once, with the same layout.
    unsafe {
        let ptr = core::hint::black_box(std::alloc::alloc(layout));
        if ptr.is_null() {
            return Err(());
        }
        let ours = slab::usable_size(ptr) == Some(layout.size()); // not where something wraps it that adds to layouts
        std::alloc::dealloc(ptr, layout);
        Ok(ours)
    }
}

/// Gives back what is cached and unused: empties the slots of all CPUs and the depot into their spans, then returns
/// unused pages and wholly free segments to the operating system (one segment stays, and all magazines), and has the
/// backing do the same. Returns the bytes of ours that were given back.
///
/// What waits for a grace period is not among it: call [`barrier`](crate::barrier) first. Takes locks and makes system
/// calls; in atomic context it does nothing and returns 0.
///
/// # Examples
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
///
/// let layout = Layout::new::<[u8; 4096]>();
/// // SAFETY: the layout has a size; freed once, with the same layout.
/// unsafe { gracealloc::GraceAlloc.dealloc(gracealloc::GraceAlloc.alloc(layout), layout) };
/// println!("{} bytes given back", gracealloc::trim());
/// ```
pub fn trim() -> usize {
    let slow = SlowPath::enter();
    if !slow.may_block() {
        return 0;
    }
    let _alone = RECLAIM.lock();
    deferred::ripen(&slow);
    cache::reclaim()
}

/// The bytes that may be used at `ptr`, which is at least what was asked for; `None` if no object of this allocator
/// starts there.
///
/// Any address may be asked about; nothing is read there. A small object that was freed may still be cached, and is not
/// told from one in use.
///
/// # Examples
/// ```
/// use std::alloc::{GlobalAlloc, Layout};
///
/// let layout = Layout::new::<[u8; 100]>();
/// // SAFETY: the layout has a size; freed once, with the same layout.
/// unsafe {
///     let ptr = gracealloc::GraceAlloc.alloc(layout);
///     assert_eq!(gracealloc::usable_size(ptr), Some(112));
///     gracealloc::GraceAlloc.dealloc(ptr, layout);
/// }
/// assert_eq!(gracealloc::usable_size(std::ptr::null()), None);
/// ```
pub fn usable_size(ptr: *const u8) -> Option<usize> {
    slab::usable_size(ptr.cast_mut())
}
