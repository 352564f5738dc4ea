//! `Retire::retire` in the place of `defer_destroy`, GraceAlloc being the global allocator.

#![cfg(not(miri))]

use crossbeam_epoch::{Atomic, Collector, Guard, Owned, Shared, pin, unprotected};
use gracealloc::*;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

/// One at a time: readers of one are waited for by all.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    barrier();
    guard
}

struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Takes out what is there and retires it; it stays readable.
fn take<'g, T: Send + 'static>(from: &Atomic<T>, guard: &'g Guard) -> Shared<'g, T> {
    let old = from.swap(Shared::null(), SeqCst, guard);
    // SAFETY: from `Atomic::new` or `Owned::new`, and unlinked by the swap.
    unsafe { guard.retire(old) };
    old
}

/// What waits while a guard is open. A page that the worker moves at this moment is in no figure, or in two.
fn expect_pending(objects: u64, drops: u64) {
    let begin = Instant::now();
    while (stats().deferred_objects, stats().drops_pending) != (objects, drops) {
        assert!(begin.elapsed() < Duration::from_secs(10), "{}", stats());
        thread::yield_now();
    }
}

#[test]
fn without_drop_glue_it_is_a_deferred_free() {
    let _alone = alone();
    let guard = pin();
    let old = take(&Atomic::new([7u64; 20]), &guard);
    expect_pending(1, 0);
    thread::sleep(Duration::from_millis(30));
    // SAFETY: the guard is older.
    assert_eq!(unsafe { old.deref() }, &[7; 20]);
    drop(guard);
    barrier();
    assert_eq!(stats().deferred_objects, 0);
}

#[test]
fn with_drop_glue_its_destructor_waits_for_the_guard() {
    let _alone = alone();
    let drops = Arc::new(AtomicUsize::new(0));
    let guard = pin();
    let _ = take(&Atomic::new(Counted(drops.clone())), &guard);
    thread::sleep(Duration::from_millis(30));
    expect_pending(0, 1);
    assert_eq!(drops.load(SeqCst), 0);
    drop(guard);
    barrier();
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn tags_are_ignored_and_null_is_nothing() {
    let _alone = alone();
    let guard = pin();
    let _ = take(&Atomic::<u64>::from(Owned::new(5u64).with_tag(3)), &guard);
    let drops = Arc::new(AtomicUsize::new(0));
    let _ = take(&Atomic::<Counted>::from(Owned::new(Counted(drops.clone())).with_tag(1)), &guard);
    let _ = take(&Atomic::<u64>::null(), &guard);
    // SAFETY: null, with a tag or not.
    unsafe {
        guard.retire(Shared::<String>::null());
        guard.retire(Shared::<u64>::null().with_tag(1));
    }
    let _ = take(&Atomic::new(()), &guard);
    expect_pending(1, 1);
    drop(guard);
    barrier();
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn the_unprotected_guard_destroys_at_once() {
    let _alone = alone();
    let drops = Arc::new(AtomicUsize::new(0));
    // SAFETY: nobody else has these.
    let guard = unsafe { unprotected() };
    let _ = take(&Atomic::new(Counted(drops.clone())), guard);
    assert_eq!((drops.load(SeqCst), stats().drops_pending), (1, 0));
    let _ = take(&Atomic::new(5), guard);
    assert_eq!(stats().deferred_objects, 0);
}

#[test]
fn the_guard_of_another_collector_protects_as_ever() {
    let _alone = alone();
    let drops = Arc::new(AtomicUsize::new(0));
    let collector = Collector::new();
    let (reader, writer) = (collector.register(), collector.register());
    let held = reader.pin();
    let _ = take(&Atomic::new(Counted(drops.clone())), &writer.pin());
    (0..1000).for_each(|_| writer.pin().flush());
    barrier(); // our grace periods do not know of that reader
    assert_eq!(drops.load(SeqCst), 0, "its collector does");
    drop(held);
    let begin = Instant::now();
    while drops.load(SeqCst) == 0 && begin.elapsed() < Duration::from_secs(60) {
        writer.pin().flush();
    }
    assert_eq!(drops.load(SeqCst), 1);
}
