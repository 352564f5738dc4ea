//! Deferred frees: pages of pointers that wait for a grace period and come back as full magazines.
//!
//! ```text
//!   pages         open in a slot, sealed, queued, ripe            drops    destructors: a function and a pointer each
//!     pending       queues of what is stamped, oldest first         worker   what nobody else came by to do
//!     budget        how many bytes may wait                         large    objects that wait by themselves
//!     in_transit    pages in hand, for barriers
//!     cells         the part of each CPU
//! ```
//!
//! But for the worker's own thread, the layer never enters crossbeam and never waits for a grace period: it says that it has
//! no page, or that it would be time to push on, and the public face decides by the caller's context.

mod budget;
mod cells;
mod counts;
mod drops;
mod in_transit;
mod large;
mod pages;
mod pending;
mod worker;

use crate::cache;
use crate::grace;
use crate::platform::slots;
use crate::size_class::SizeClass;
use crate::slab;
use crate::slow_path::SlowPath;
use core::alloc::Layout;
use core::sync::atomic::Ordering::Relaxed;

pub(crate) use counts::{counts, pending_objects};
pub(crate) use drops::{Destructor, Left, Object, is_dropping, leave, leave_in_pool};
pub(crate) use large::has_room as has_room_for_large;
pub(crate) use pages::Deferred;
pub(crate) use worker::{
    hurry, is_wanted as is_worker_wanted, report_stall, runs as worker_runs, wake as wake_worker, want as want_worker,
};

/// Sets the records of the CPUs up; false without memory. After the slots. Never blocks.
pub(crate) fn init() -> bool {
    cells::init()
}

/// The part of start-up that takes a lock: not in atomic context.
pub(crate) fn prepare() {
    drops::make_pool();
}

/// The fast path: into the page in this CPU's slot; false if that takes more.
#[inline(always)]
pub(crate) fn push(class: SizeClass, object: *mut u8) -> bool {
    // SAFETY: deferred slots are part of every cell.
    unsafe { slots::push(cache::deferred_slot(class), object) }
}

/// [`push`] for larger alignments, and where restartable sequences are not in use.
pub(crate) fn push_any(class: SizeClass, object: *mut u8) -> bool {
    slots::push_any(cache::deferred_slot(class), object)
}

/// Defers an object that the fast path found no room for.
pub(crate) fn overflow(class: SizeClass, object: *mut u8, slow: &SlowPath) -> Deferred {
    pages::overflow(class, object, slow)
}

/// Marks an object as deferred. Never blocks, cannot fail.
pub(crate) fn mark(class: SizeClass, object: *mut u8) {
    slab::marks::DEFERRED.set(class, object);
}

/// Defers a large object. Cannot fail.
pub(crate) fn defer_large(object: *mut u8, layout: Layout, slow: &SlowPath) {
    large::defer(object, layout, slow);
}

/// Takes back everything whose time has come.
pub(crate) fn ripen(slow: &SlowPath) {
    for cell in cells::all() {
        pages::ripen(cell, usize::MAX, slow);
    }
    large::ripen(slow);
    if slab::marks::DEFERRED.is_pending() && slow.may_block() {
        pages::collect_marked(slow);
    }
}

/// Seals the open pages that nobody is inside of. Takes locks: not in atomic context.
pub(crate) fn seal_what_is_open(slow: &SlowPath) {
    pages::drain(0..slots::cells(), false);
    pages::collect_marked(slow);
}

/// Whether anything waits for a grace period, in open pages too.
pub(crate) fn is_pending() -> bool {
    grace::is_wanted()
        || cells::all().iter().any(|cell| !cell.pages.is_empty() || cell.open.load(Relaxed))
        || !large::pending().is_empty()
        || slab::marks::DEFERRED.is_pending()
        || drops::is_pending()
}

/// Puts all marked objects into pages, seals every open page of every CPU, and waits for what others have in hand. Returns
/// whether all marked objects found a page. Not in atomic context.
pub(crate) fn seal_all() -> bool {
    let slow = SlowPath::enter();
    let all = pages::collect_all_marked(&slow);
    pages::drain(0..slots::cells(), true);
    in_transit::wait_for_all();
    all
}

/// What takes locks, for others: seals open pages, puts marked objects into pages, fills the reserve, lets memory decay.
pub(crate) fn maintain() {
    worker::maintain(true);
}

/// Gives back large objects whose time has come.
pub(crate) fn ripen_large(slow: &SlowPath) {
    large::ripen(slow);
}

/// Waits until every destructor has run whose time has come: on the worker, else here.
pub(crate) fn run_all_destructors() {
    drops::run_patiently(worker::hurry);
}

/// Runs the destructors whose time has come, unless somebody else does.
pub(crate) fn run_due_destructors() {
    drops::run();
}

/// Counts a value that nobody will drop.
pub(crate) fn count_leaked_drop() {
    drops::LEAKED.fetch_add(1, Relaxed);
}

/// Takes back all whose time has come, waiting for those that are at it already.
pub(crate) fn ripen_patiently() {
    let slow = SlowPath::enter();
    for cell in cells::all() {
        pages::ripen_patiently(cell, &slow);
    }
    large::ripen_patiently();
}

/// Before a fork: every lock of this layer and of grace periods.
pub(crate) fn lock_all() {
    grace::lock_all();
    in_transit::lock_all();
    pages::lock_marks();
    drops::close();
    in_transit::close(); // after what is held by who waits in there, before what they may want
    drops::lock_all();
    large::pending().lock();
    cells::all().iter().for_each(|cell| cell.pages.lock());
}

/// In the child of a fork, before the locks are left: forgets what other threads were doing.
pub(crate) fn restart() {
    grace::restart();
    cache::count_lost(in_transit::restart());
    drops::restart();
    worker::restart();
}

/// Leaves the locks again.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(crate) unsafe fn unlock_all() {
    cells::all().iter().for_each(|cell| cell.pages.unlock());
    large::pending().unlock();
    // SAFETY: handed on to the caller.
    unsafe {
        drops::unlock_all();
        in_transit::open();
        pages::unlock_marks();
        in_transit::unlock_all();
    }
    grace::unlock_all();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GraceAlloc;
    use core::alloc::GlobalAlloc;
    use core::sync::atomic::AtomicBool;
    use core::time::Duration;
    use std::thread;

    #[test]
    fn a_barrier_waits_for_what_others_have_in_hand() {
        static SEALED: AtomicBool = AtomicBool::new(false);
        let layout = Layout::new::<[u64; 4]>();
        // SAFETY: the layout has a size; freed once. From here on there are cells.
        unsafe { GraceAlloc.dealloc(GraceAlloc.alloc(layout), layout) };
        let in_hand = in_transit::InTransit::enter(cells::here().unwrap(), true);
        let barrier = thread::spawn(|| {
            seal_all();
            SEALED.store(true, Relaxed);
        });
        thread::sleep(Duration::from_millis(50));
        assert!(!SEALED.load(Relaxed), "a page in hand was not waited for");
        drop(in_hand);
        barrier.join().unwrap();
    }
}
