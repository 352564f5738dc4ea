//! `Rcu<T>`: when old values are dropped, how often, and what their destructors may do.

#![cfg(not(miri))]

use gracealloc::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

/// Readers of one test are waited for by all, and the pool of entries is one: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    barrier();
    guard
}

/// Counts its drops, once per value.
struct Counted(Arc<AtomicUsize>, u64);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn check_that_it_stays<G: Guard + Send + 'static>(open: fn() -> G, close: fn(G)) {
    let drops = Arc::new(AtomicUsize::new(0));
    let rcu = Rcu::new(Counted(drops.clone(), 1));
    let guard = open();
    let first = rcu.load(&guard);
    rcu.replace(Counted(drops.clone(), 2));
    rcu.update(|old| Counted(drops.clone(), old.1 + 1));
    thread::sleep(std::time::Duration::from_millis(30));
    assert_eq!((first.1, rcu.load(&guard).1, drops.load(SeqCst)), (1, 3, 0));
    close(guard);
    barrier();
    assert_eq!(drops.load(SeqCst), 2, "both old ones");
    drop(rcu);
    assert_eq!(drops.load(SeqCst), 3, "the last one at once: it cannot be borrowed");
}

#[test]
fn what_was_loaded_stays_as_long_as_its_guard() {
    let _alone = alone();
    check_that_it_stays(read_owned, |guard| thread::spawn(move || drop(guard)).join().unwrap());
    let drops = Arc::new(AtomicUsize::new(0));
    let rcu = Rcu::new(Counted(drops.clone(), 1));
    let guard = read();
    let first = rcu.load(&guard);
    thread::scope(|scope| drop(scope.spawn(|| rcu.replace(Counted(drops.clone(), 2)))));
    assert_eq!((first.1, drops.load(SeqCst)), (1, 0));
    drop(guard);
    barrier();
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn updates_that_race_lose_nothing_and_each_value_is_dropped_once() {
    const THREADS: usize = 4;
    const EACH: u64 = 2000;
    let _alone = alone();
    let (made, drops) = (AtomicUsize::new(1), Arc::new(AtomicUsize::new(0)));
    let rcu = Rcu::new(Counted(drops.clone(), 0));
    let next = |old: &Counted| {
        made.fetch_add(1, SeqCst);
        Counted(drops.clone(), old.1 + 1)
    };
    thread::scope(|scope| (0..THREADS).for_each(|_| drop(scope.spawn(|| (0..EACH).for_each(|_| rcu.update(next))))));
    barrier();
    assert_eq!(drops.load(SeqCst), made.load(SeqCst) - 1);
    assert_eq!(rcu.into_inner().1, THREADS as u64 * EACH);
    assert_eq!(drops.load(SeqCst), made.load(SeqCst));
}

/// Blocks without drop glue come back for the next value: one given back early would be seen to change.
#[test]
fn values_without_destructors_do_not_change_under_readers() {
    let _alone = alone();
    let (rcu, over) = (Rcu::new([0u64; 12]), AtomicBool::new(false));
    let look = || {
        while !over.load(SeqCst) {
            let guard = read();
            let value = rcu.load(&guard);
            (0..50).for_each(|_| assert_eq!(value, &[std::hint::black_box(value)[0]; 12]));
        }
    };
    thread::scope(|scope| {
        drop((scope.spawn(look), scope.spawn(look)));
        (0..300_000).for_each(|n| rcu.replace([n; 12]));
        over.store(true, SeqCst);
    });
    barrier();
    assert_eq!(stats().deferred_objects, 0);
}

#[test]
fn an_update_that_panics_changes_nothing() {
    let _alone = alone();
    let rcu = Rcu::new(1);
    assert!(catch_unwind(AssertUnwindSafe(|| rcu.update(|_| panic!("on purpose")))).is_err());
    assert_eq!(context(), Context::Preemptible, "its guard is closed");
    rcu.update(|n| n + 1);
    assert_eq!(rcu.into_inner(), 2);
}

#[test]
fn an_update_during_which_the_value_is_replaced_begins_anew() {
    let _alone = alone();
    let rcu = Rcu::new(String::from("one"));
    let mut calls = 0;
    rcu.update(|old| {
        calls += 1;
        if calls == 1 {
            rcu.replace(String::from("two"));
        }
        format!("after {old}")
    });
    assert_eq!((calls, rcu.into_inner().as_str()), (2, "after two"));
}

#[test]
fn a_destructor_that_panics_in_vain_breaks_nothing() {
    struct Bomb(bool);
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(!self.0, "on purpose");
        }
    }
    let _alone = alone();
    let rcu = Rcu::new(Bomb(false));
    let mut first = true;
    let update = AssertUnwindSafe(|| {
        rcu.update(|_| {
            let armed = std::mem::replace(&mut first, false);
            if armed {
                rcu.replace(Bomb(false));
            }
            Bomb(armed) // the first is made in vain, and dropped here
        });
    });
    assert!(catch_unwind(update).is_err());
    assert_eq!(context(), Context::Preemptible);
    rcu.replace(Bomb(false));
    barrier();
}

#[test]
fn sizes_and_alignments_of_all_kinds() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(4096))]
    struct Aligned(u8);
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(131072))]
    struct VeryAligned;
    struct Empty;
    static EMPTY_DROPS: AtomicUsize = AtomicUsize::new(0);
    impl Drop for Empty {
        fn drop(&mut self) {
            EMPTY_DROPS.fetch_add(1, SeqCst);
        }
    }
    fn check<T: Copy + PartialEq + std::fmt::Debug + Send + Sync + 'static>(one: T, two: T) {
        let rcu = Rcu::new(one);
        let guard = read();
        let seen = rcu.load(&guard);
        assert_eq!(std::ptr::from_ref(seen).addr() % align_of::<T>(), 0);
        (0..100).for_each(|_| rcu.replace(two));
        assert_eq!((seen, rcu.load(&guard)), (&one, &two));
    }
    let _alone = alone();
    check((), ());
    check(1u8, 2);
    check(Aligned(1), Aligned(2));
    check(VeryAligned, VeryAligned);
    check([1u64; 10_000], [2; 10_000]);
    let rcu = Rcu::new(Empty);
    (0..10).for_each(|_| rcu.replace(Empty));
    barrier();
    assert_eq!(EMPTY_DROPS.load(SeqCst), 10);
    drop(rcu);
    assert_eq!(EMPTY_DROPS.load(SeqCst), 11);
}

#[test]
fn a_destructor_may_read_replace_and_wait_for_readers() {
    static OTHER: LazyLock<Rcu<String>> = LazyLock::new(Rcu::default);
    static LAST: AtomicU64 = AtomicU64::new(0);
    struct Busy(u64);
    impl Drop for Busy {
        fn drop(&mut self) {
            let before = OTHER.load(&read()).len();
            OTHER.update(|old| format!("{old}."));
            OTHER.replace(format!("{}.", *OTHER.load(&read())));
            assert!(OTHER.load(&read()).len() >= before + 2);
            synchronize();
            drop(Rcu::new(Rcu::new(vec![1])));
            LAST.fetch_max(self.0, SeqCst);
        }
    }
    let _alone = alone();
    let rcu = Rcu::new(Busy(0));
    (1..=50).for_each(|n| rcu.replace(Busy(n)));
    barrier();
    assert_eq!(LAST.load(SeqCst), 49);
}

#[test]
fn in_atomic_context_nothing_waits_and_want_of_memory_is_told() {
    let _alone = alone();
    let rcu = Rcu::new(vec![0]);
    let values: Vec<_> = (0..200).map(|n| vec![n]).collect(); // more than the entries made beforehand
    let large = Rcu::new([0u8; 100_000]);
    let leaked = stats().leaked_drops;
    {
        let _section = atomic_section();
        values.into_iter().for_each(|value| rcu.try_replace(value).unwrap());
        assert_eq!(rcu.load(&read()), &[199]);
        assert_eq!(large.try_replace([1; 100_000]).unwrap_err(), [1; 100_000], "given back");
        assert_eq!(context(), Context::Atomic);
    }
    assert!(stats().leaked_drops > leaked, "some had no entry, and are counted");
    barrier();
    assert_eq!(stats().drops_pending, 0);
}

#[test]
fn the_usual_traits() {
    let _alone = alone();
    let mut rcu = Rcu::from(5);
    *rcu.get_mut() += 1;
    assert_eq!(format!("{rcu:?} {:?}", Rcu::<String>::default()), "Rcu(6) Rcu(\"\")");
    assert_eq!(rcu.into_inner(), 6);
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Rcu<String>>();
}
