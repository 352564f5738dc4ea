//! Deferred frees from the outside, each cell of the table of contexts among them: what comes back, when, who waits.
//!
//! The heap is one per process, so the tests take turns; the counters of `stats()` say which way a call went.

#![cfg(not(miri))]

use gracealloc::*;
use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashSet;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static TURN: Mutex<()> = Mutex::new(());

/// Waits for this test's turn and starts with nothing pending and the options as they are by default.
fn turn() -> MutexGuard<'static, ()> {
    let guard = TURN.lock().unwrap_or_else(|e| e.into_inner());
    configure(Config::new().budget_bytes(0).wait_limit(Duration::from_millis(100))).unwrap();
    barrier();
    guard
}

/// Spends the budget: while the reader stays no page is to be had.
fn spend_budget(_reader: &Reader) {
    configure(Config::new().budget_bytes(1 << 20).wait_limit(Duration::ZERO)).unwrap();
    // Others who try for a page, in vain, can be in this one's way: a few marks do not prove it.
    let before = stats().deferred_marks;
    while stats().deferred_marks < before + 1000 {
        (0..100).for_each(|_| defer(alloc(LAYOUT), LAYOUT));
    }
    configure(Config::new().wait_limit(Duration::from_millis(100))).unwrap();
}

/// A class that nothing else here uses.
const LAYOUT: Layout = Layout::new::<[u64; 56]>();
const LARGE: Layout = Layout::new::<[u8; 200_000]>();

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the layout has a size.
    unsafe { GraceAlloc.alloc(layout) }
}

fn defer(ptr: *mut u8, layout: Layout) {
    // SAFETY: callers pass what `alloc` gave them, once; nobody else has seen it.
    unsafe { deferred_free(ptr, layout) }
}

/// A thread that holds a guard of crossbeam's until it is told to leave.
struct Reader(mpsc::Sender<()>, JoinHandle<()>);

impl Reader {
    fn enter() -> Self {
        let (leave, left) = mpsc::channel();
        let (entered, has_entered) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _guard = crossbeam_epoch::pin();
            entered.send(()).unwrap();
            let _ = left.recv();
        });
        has_entered.recv().unwrap();
        Self(leave, thread)
    }

    fn leave(self) {
        drop(self.0);
        self.1.join().unwrap();
    }
}

/// Waits for what must come true by itself.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: {}", stats());
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_barrier_brings_everything_back() {
    let _turn = turn();
    for size in [16, 64, 1000, 32 << 10, 100_000] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let (objects, live) = ((0..1000).map(|_| alloc(layout)).collect::<Vec<_>>(), stats().live_bytes);
        let reader = Reader::enter();
        // SAFETY: nobody else has seen them.
        unsafe { deferred_free_bulk(&objects, layout) };
        // What the worker has in hand is in no figure for a moment.
        eventually("all of it waits", || stats().deferred_objects + stats().marked_objects >= 1000);
        reader.leave();
        barrier();
        let others = 64 << 10; // what the test itself allocates
        assert!(stats().live_bytes + 1000 * size as u64 <= live + others, "{}", stats());
        assert_eq!((stats().deferred_objects, stats().deferred_bytes), (0, 0), "{}", stats());
    }
}

#[test]
fn nothing_comes_back_while_a_reader_may_see_it() {
    let _turn = turn();
    (0..3).for_each(|_| synchronize()); // a grace period that has ended must not stand for a later one
    let reader = Reader::enter();
    let deferred: HashSet<_> = (0..5000).map(|_| alloc(LAYOUT)).collect();
    deferred.iter().for_each(|&p| defer(p, LAYOUT));
    let others: Vec<_> = (0..20_000).map(|_| alloc(LAYOUT)).collect();
    assert!(others.iter().all(|p| !deferred.contains(p)), "handed out again under a reader's eyes");
    eventually("all of it waits", || stats().deferred_objects >= 5000);
    reader.leave();
    barrier();
    assert_eq!(stats().deferred_objects, 0);
    let again: Vec<_> = (0..20_000).map(|_| alloc(LAYOUT)).collect();
    assert!(again.iter().any(|p| deferred.contains(p)), "and then it is used again");
    // SAFETY: allocated above, once each.
    others.into_iter().chain(again).for_each(|p| unsafe { GraceAlloc.dealloc(p, LAYOUT) });
}

#[test]
fn a_page_that_is_not_full_comes_back_by_itself() {
    let _turn = turn();
    defer(alloc(LAYOUT), LAYOUT);
    eventually("the worker seals it", || stats().deferred_objects == 0);
}

#[test]
fn a_flood_without_readers_neither_waits_nor_marks() {
    let _turn = turn();
    let before = stats();
    for _ in 0..200_000 {
        defer(alloc(LAYOUT), LAYOUT);
    }
    let after = stats();
    assert!(after.pages_recycled - before.pages_recycled > 100, "{after}");
    assert_eq!(after.deferred_marks, before.deferred_marks, "no page was missing");
    assert_eq!(after.inline_waits, before.inline_waits, "nobody waited");
}

#[test]
fn without_a_page_a_preemptible_caller_waits_no_longer_than_the_limit() {
    let _turn = turn();
    let reader = Reader::enter();
    spend_budget(&reader);
    let before = stats();
    let mut waited = Duration::ZERO;
    while stats().inline_waits == before.inline_waits {
        let begin = Instant::now(); // the page of another CPU may have room, and the thread go there
        defer(alloc(LAYOUT), LAYOUT);
        waited = begin.elapsed();
    }
    assert!(waited >= Duration::from_millis(100), "it could not be freed before that");
    let after = stats();
    assert_eq!(after.deferred_marks, before.deferred_marks + 1, "and then it was marked");
    assert_eq!(after.marked_bytes, after.marked_objects * LAYOUT.size() as u64, "{after}");
    reader.leave();
    barrier();
    assert_eq!(stats().marked_objects, 0);
}

/// A reader that leaves while a caller waits releases it: its object is freed then, or finds a page.
#[test]
fn a_caller_that_waits_goes_on_when_the_reader_leaves() {
    let _turn = turn();
    let reader = Reader::enter();
    spend_budget(&reader);
    configure(Config::new().wait_limit(Duration::from_secs(3600))).unwrap();
    let before = stats();
    // As many as the open pages of all CPUs have room for, and more.
    let caller = thread::spawn(|| (0..1000).for_each(|_| defer(alloc(LAYOUT), LAYOUT)));
    thread::sleep(Duration::from_millis(50));
    assert!(!caller.is_finished());
    reader.leave();
    caller.join().unwrap();
    let after = stats();
    assert_eq!(after.deferred_marks, before.deferred_marks, "it was not marked");
    assert!(after.inline_waits > before.inline_waits);
    assert!(after.grace_periods > before.grace_periods);
}

#[test]
fn without_a_page_readers_and_atomic_callers_mark_and_never_wait() {
    let _turn = turn();
    for context in [Context::Reader, Context::Atomic] {
        let reader = Reader::enter();
        spend_budget(&reader);
        configure(Config::new().wait_limit(Duration::from_secs(3600))).unwrap();
        let objects: Vec<_> = (0..1000).map(|_| alloc(LAYOUT)).collect();
        let before = stats();
        {
            let _guard = (context == Context::Reader).then(crossbeam_epoch::pin);
            let _section = (context == Context::Atomic).then(atomic_section);
            objects.iter().for_each(|&p| defer(p, LAYOUT));
        }
        let after = stats();
        assert!(after.deferred_marks - before.deferred_marks > 500, "{context:?}: some found room in open pages");
        assert_eq!(after.inline_waits, before.inline_waits, "{context:?}");
        reader.leave();
        barrier();
        assert_eq!((stats().marked_objects, stats().deferred_objects), (0, 0), "{context:?}: {}", stats());
    }
}

/// Marks, all collected by a barrier, and marks again: the segment is listed once, or the next collector would go round in
/// circles.
#[test]
fn marks_that_a_barrier_has_collected_may_be_set_again() {
    let _turn = turn();
    for _ in 0..20 {
        let reader = Reader::enter();
        spend_budget(&reader);
        for _ in 0..2 {
            let objects: Vec<_> = (0..300).map(|_| alloc(LAYOUT)).collect();
            let section = atomic_section();
            objects.iter().for_each(|&p| defer(p, LAYOUT));
            drop(section);
        }
        reader.leave();
        barrier();
    }
    assert_eq!((stats().marked_objects, stats().deferred_objects), (0, 0), "{}", stats());
}

#[test]
fn atomic_callers_get_pages_and_leave_crossbeam_alone() {
    let _turn = turn();
    let objects: Vec<_> = (0..10_000).map(|_| alloc(LAYOUT)).collect();
    let (reader, before) = (Reader::enter(), stats());
    let section = atomic_section();
    objects.iter().for_each(|&p| defer(p, LAYOUT));
    drop(section);
    eventually("all of it waits", || stats().deferred_objects + stats().marked_objects >= 10_000);
    let marks = stats().deferred_marks - before.deferred_marks;
    assert!(marks < 9500, "the reserve's magazines became pages: {}", stats());
    reader.leave();
    eventually("the worker takes them back", || stats().deferred_objects + stats().marked_objects == 0);
}

#[test]
fn large_objects_wait_too() {
    let _turn = turn();
    let reader = Reader::enter();
    let before = stats();
    (0..50).for_each(|_| defer(alloc(LARGE), LARGE));
    assert_eq!(stats().deferred_bytes - before.deferred_bytes, 50 * LARGE.size() as u64);
    assert_eq!(stats().large_objects, before.large_objects + 50, "still held");
    reader.leave();
    barrier();
    assert_eq!(stats().large_objects, before.large_objects);
}

#[test]
fn the_budget_holds_for_large_objects() {
    let _turn = turn();
    configure(Config::new().budget_bytes(4 << 20).wait_limit(Duration::from_millis(5))).unwrap();
    let (reader, before) = (Reader::enter(), stats());
    (0..16).for_each(|_| defer(alloc(LARGE), LARGE));
    assert_eq!(stats().inline_waits, before.inline_waits, "3.2 MB of 4");
    (0..4).for_each(|_| defer(alloc(LARGE), LARGE));
    assert!(stats().inline_waits > before.inline_waits, "{}", stats());
    // Those that are a large part of the budget by themselves, too.
    let (waits, huge) = (stats().inline_waits, Layout::new::<[u8; 3 << 20]>());
    (0..3).for_each(|_| defer(alloc(huge), huge));
    assert!(stats().inline_waits >= waits + 3, "{}", stats());
    reader.leave();
    barrier();
    assert_eq!(stats().deferred_bytes, 0);
}

/// Crossbeam drops what stands behind a function that panics: the grace period's probe must not.
#[test]
fn a_foreign_panic_does_not_end_grace_periods() {
    let _turn = turn();
    for _ in 0..10 {
        crossbeam_epoch::pin().defer(|| panic!("not ours"));
        let _ = catch_unwind(|| synchronize_timeout(Duration::from_secs(20)));
        assert_eq!(catch_unwind(|| synchronize_timeout(Duration::from_secs(20))).unwrap(), Ok(()));
    }
}

/// A destructor that says that it has begun, and stays until it is told to go on.
struct Stays(mpsc::Sender<()>, mpsc::Receiver<()>);

impl Drop for Stays {
    fn drop(&mut self) {
        self.0.send(()).unwrap();
        let _ = self.1.recv();
    }
}

/// The queue of drops is full, so this thread waits, and runs what panics.
#[test]
fn a_foreign_panic_loses_no_value_that_is_to_be_dropped() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counts;
    impl Drop for Counts {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, SeqCst);
        }
    }
    // SAFETY: from a box, once; nobody else has seen it.
    let drop_later = || unsafe { defer_drop(Box::into_raw(Box::new(Counts))) };
    let _turn = turn();
    let (leaked, (begins, has_begun), (leave, left)) = (stats().leaked_drops, mpsc::channel(), mpsc::channel());
    // SAFETY: as above.
    unsafe { defer_drop(Box::into_raw(Box::new(Stays(begins, left)))) };
    has_begun.recv().unwrap();
    (0..512).for_each(|_| drop_later());
    let panics = (0..20).filter(|_| {
        let _ = catch_unwind(|| crossbeam_epoch::pin().defer(|| panic!("not ours")));
        catch_unwind(drop_later).is_err()
    });
    assert_ne!(panics.count(), 0, "nothing panicked where it would hurt");
    leave.send(()).unwrap();
    barrier();
    assert_eq!((DROPPED.load(SeqCst), stats().leaked_drops - leaked), (532, 0));
}

/// The worker is started by the next slow path of somebody who may.
#[test]
fn what_only_atomic_callers_defer_comes_back() {
    let _turn = turn();
    let objects: Vec<_> = (0..3000).map(|_| alloc(LAYOUT)).collect();
    let section = atomic_section();
    objects.iter().for_each(|&p| defer(p, LAYOUT));
    drop(section);
    eventually("allocations wake the worker", || {
        // SAFETY: freed once, with its layout.
        unsafe { GraceAlloc.dealloc(alloc(LARGE), LARGE) };
        stats().deferred_objects + stats().marked_objects == 0
    });
}

#[test]
fn what_has_come_back_is_not_charged_any_more() {
    let _turn = turn();
    configure(Config::new().budget_bytes(4 << 20)).unwrap();
    let before = stats();
    for _ in 0..40 {
        (0..1000).for_each(|_| defer(alloc(LAYOUT), LAYOUT));
        (0..4).for_each(|_| defer(alloc(LARGE), LARGE));
        barrier();
    }
    assert_eq!(stats().inline_waits, before.inline_waits, "50 MB went through 4: {}", stats());
}

#[test]
fn the_budget_bounds_what_waits_in_pages() {
    let _turn = turn();
    let budget = 2 << 20;
    configure(Config::new().budget_bytes(budget).wait_limit(Duration::ZERO)).unwrap();
    let (reader, before) = (Reader::enter(), stats());
    (0..20_000).for_each(|_| defer(alloc(LAYOUT), LAYOUT));
    let after = stats();
    assert!(after.deferred_bytes <= budget as u64 && after.deferred_bytes > budget as u64 / 2, "{after}");
    thread::sleep(Duration::from_millis(50)); // the worker tries to find pages for what is marked, and finds none
    eventually("each is in a page or marked", || stats().deferred_objects + stats().marked_objects == 20_000);
    assert!(after.deferred_marks - before.deferred_marks >= after.marked_objects, "{after}");
    reader.leave();
    barrier();
    assert_eq!((stats().deferred_objects, stats().marked_objects), (0, 0), "{}", stats());
}

#[test]
fn zero_sizes_and_nulls_are_nothing() {
    let _turn = turn();
    defer(std::ptr::null_mut(), LAYOUT);
    defer(std::ptr::dangling_mut(), Layout::new::<()>());
    assert_eq!(stats().deferred_objects, 0);
}

static DROPPED: AtomicUsize = AtomicUsize::new(0);

struct Counted(thread::ThreadId);

impl Drop for Counted {
    fn drop(&mut self) {
        assert_ne!(self.0, thread::current().id(), "destructors run on the worker");
        DROPPED.fetch_add(1, SeqCst);
    }
}

#[test]
fn destructors_run_on_the_worker_once_readers_have_left() {
    let _turn = turn();
    let (reader, before, me) = (Reader::enter(), DROPPED.load(SeqCst), thread::current().id());
    // SAFETY: from boxes, and nobody else has seen them.
    unsafe {
        defer_drop(Box::into_raw(Box::new(Counted(me))));
        defer_drop::<[Counted]>(Box::into_raw(Box::new([Counted(me), Counted(me)])));
        defer_drop::<dyn Send>(Box::into_raw(Box::new(Counted(me))));
    }
    thread::sleep(Duration::from_millis(30));
    assert_eq!(DROPPED.load(SeqCst), before);
    reader.leave();
    barrier(); // leaves them to the worker, and waits for it
    assert_eq!(DROPPED.load(SeqCst), before + 4);
}

#[test]
fn more_drops_than_the_queue_holds_are_all_run() {
    let _turn = turn();
    static SUM: AtomicUsize = AtomicUsize::new(0);
    struct Adds(usize);
    impl Drop for Adds {
        fn drop(&mut self) {
            SUM.fetch_add(self.0, SeqCst);
        }
    }
    configure(Config::new().wait_limit(Duration::from_millis(1))).unwrap();
    let (reader, waits) = (Reader::enter(), stats().inline_waits);
    // SAFETY: from boxes, and nobody else has seen them.
    (1..=1000).for_each(|n| unsafe { defer_drop(Box::into_raw(Box::new(Adds(n)))) });
    assert_eq!(SUM.load(SeqCst), 0);
    assert!(stats().inline_waits > waits, "the queue was full");
    // Those for atomic callers are there all the same.
    let (value, section) = (Box::into_raw(Box::new(Adds(0))), atomic_section());
    // SAFETY: from a box, and nobody else has seen it.
    assert_eq!(unsafe { try_defer_drop(value) }, Ok(()));
    drop(section);
    reader.leave();
    barrier();
    assert_eq!(SUM.load(SeqCst), 1000 * 1001 / 2);
    assert_eq!((stats().drops_pending, stats().leaked_drops), (0, 0));
}

#[test]
fn an_atomic_caller_is_told_when_there_is_no_place_for_a_drop() {
    let _turn = turn();
    let reader = Reader::enter();
    let values: Vec<_> = (0..100).map(|n| Box::into_raw(Box::new(n))).collect();
    let section = atomic_section();
    // SAFETY: from boxes; those that found no place are taken back below.
    let (left, refused): (Vec<_>, Vec<_>) =
        values.into_iter().partition(|&value| unsafe { try_defer_drop(value).is_ok() });
    drop(section);
    assert!(left.len() >= 64 && !refused.is_empty(), "{} left", left.len());
    // SAFETY: an error changes nothing.
    refused.into_iter().for_each(|value| drop(unsafe { Box::from_raw(value) }));
    reader.leave();
    barrier();
    assert_eq!(stats().drops_pending, 0);
}

#[test]
fn a_cookie_elapses_when_its_readers_have_left() {
    let _turn = turn();
    let reader = Reader::enter();
    let cookie = GraceCookie::start();
    assert!(synchronize_timeout(Duration::from_millis(20)).is_err());
    assert!(!cookie.is_elapsed());
    reader.leave();
    eventually("it was asked for", || cookie.is_elapsed());
    assert!(!GraceCookie::now().is_elapsed(), "and a new one has not");
}

#[test]
fn who_would_wait_for_itself_is_refused() {
    let _turn = turn();
    let guard = crossbeam_epoch::pin();
    assert!(catch_unwind(synchronize).is_err());
    assert!(catch_unwind(barrier).is_err());
    assert!(!GraceCookie::now().is_elapsed());
    drop(guard);
    let section = atomic_section();
    // The message of a panic is allocated: in an atomic section from the caches, which have it.
    assert!(catch_unwind(synchronize).is_err());
    assert!(catch_unwind(|| GraceCookie::now().wait()).is_err());
    drop(section);
    synchronize();
}

#[test]
fn a_stalled_grace_period_is_reported() {
    let _turn = turn();
    configure(Config::new().stall_report(Duration::from_millis(20))).unwrap();
    let (reader, before) = (Reader::enter(), stats().stall_reports);
    defer(alloc(LAYOUT), LAYOUT);
    eventually("twice", || stats().stall_reports >= before + 2);
    reader.leave();
    configure(Config::new().stall_report(Duration::from_secs(10))).unwrap();
}

/// Barriers on several threads at once, beside threads that defer: each finds its own thread's deferrals given back.
#[test]
fn barriers_do_not_hinder_each_other() {
    let _turn = turn();
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                for round in 0..50 {
                    (0..100 + round).for_each(|_| defer(alloc(LAYOUT), LAYOUT));
                    barrier();
                }
            });
        }
    });
    barrier();
    assert_eq!(stats().deferred_objects, 0);
}
