//! A program whose global allocator is another one: what uses GraceAlloc directly, and what must not.

#![cfg(not(miri))]

use crossbeam_epoch::{Atomic, Shared, pin};
use gracealloc::*;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

#[test]
fn values_and_reservations_are_ours_and_boxes_are_not() {
    assert!(!is_global());
    let rcu = Rcu::new(String::from("one"));
    assert!(usable_size(std::ptr::from_ref(rcu.load(&read())).cast()).is_some());
    (0..1000).for_each(|n| rcu.replace(n.to_string()));
    let plain = Rcu::new(0);
    (0..1000).for_each(|_| plain.update(|n| n + 1));
    assert_eq!((rcu.load(&read()).as_str(), *plain.load(&read())), ("999", 1000));

    let mut reservation = Reservation::new(Layout::new::<u64>(), 2).unwrap();
    let object = reservation.alloc().unwrap();
    assert!(usable_size(object.as_ptr()).is_some());
    // SAFETY: of this layout, and freed once.
    unsafe { GraceAlloc.dealloc(object.as_ptr(), reservation.layout()) };
}

/// A box of another allocator's, in a page of ours, would end the process sooner or later.
#[test]
fn what_is_retired_goes_to_defer_destroy() {
    static DROPS: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPS.fetch_add(1, SeqCst);
        }
    }
    let (number, counted) = (Atomic::new(0u64), Atomic::new(Counted));
    let begin = std::time::Instant::now();
    while DROPS.load(SeqCst) < 1000 && begin.elapsed().as_secs() < 60 {
        let guard = pin();
        let old = number.swap(crossbeam_epoch::Owned::new(1), SeqCst, &guard);
        let dropped = counted.swap(crossbeam_epoch::Owned::new(Counted), SeqCst, &guard);
        // SAFETY: unlinked by the swaps.
        unsafe {
            guard.retire(old);
            guard.retire(dropped);
        }
    }
    assert!(DROPS.load(SeqCst) >= 1000);
    barrier();
    trim();
    let guard = pin();
    // SAFETY: the last ones, unlinked.
    unsafe {
        guard.retire(number.swap(Shared::null(), SeqCst, &guard));
        guard.retire(counted.swap(Shared::null(), SeqCst, &guard));
    }
}
