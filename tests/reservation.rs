//! `Reservation`: what was set aside is there, resident, in any context, and comes back.

#![cfg(not(miri))]

use gracealloc::*;
use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashSet;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

/// The heap is one per process: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn free(object: NonNull<u8>, layout: Layout) {
    // SAFETY: callers pass what a reservation gave them, once.
    unsafe { GraceAlloc.dealloc(object.as_ptr(), layout) };
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

#[test]
fn each_object_is_handed_out_once_whatever_its_layout() {
    let _alone = alone();
    for layout in
        [layout(1, 1), layout(64, 8), layout(40, 256), layout(32768, 8), layout(100_000, 8), layout(8, 1 << 17)]
    {
        let mut reservation = Reservation::new(layout, 50).unwrap();
        let _section = atomic_section();
        let objects: HashSet<_> = (0..50).map(|_| reservation.alloc().unwrap()).collect();
        assert_eq!((objects.len(), reservation.len(), reservation.alloc()), (50, 0, None));
        assert!(reservation.is_empty() && reservation.layout() == layout);
        for &object in &objects {
            assert_eq!(object.addr().get() % layout.align(), 0);
            // SAFETY: ours, and of this size.
            unsafe { object.write_bytes(0xAA, layout.size()) };
            free(object, layout);
        }
    }
}

/// Objects of a class in use, when nothing is on its way.
fn live(class: usize) -> u64 {
    barrier();
    trim(); // applies what was marked
    stats().classes.iter().find(|each| each.bytes == class).map_or(0, |each| each.live)
}

#[test]
fn what_is_left_goes_back_and_what_was_taken_stays_the_callers() {
    let _alone = alone();
    let layout = layout(7100, 8); // a class that nobody else uses
    let mut reservation = Reservation::new(layout, 1000).unwrap();
    assert_eq!(live(7168), 1000);
    let (one, two) = (reservation.alloc().unwrap(), reservation.alloc().unwrap());
    thread::spawn(move || drop(reservation)).join().unwrap();
    assert_eq!(live(7168), 2);
    free(one, layout);
    // SAFETY: nobody else has seen it.
    unsafe { deferred_free(two.as_ptr(), layout) };
    assert_eq!(live(7168), 0);
}

#[test]
fn without_memory_nothing_is_kept() {
    let _alone = alone();
    drop(Reservation::new(layout(6100, 8), 500).unwrap()); // some are cached, or free in their spans
    {
        let _section = atomic_section();
        assert_eq!(Reservation::new(layout(1 << 20, 8), 1).unwrap_err(), ReserveError::NoMemory);
        assert_eq!(Reservation::new(layout(6100, 8), 1000).unwrap_err(), ReserveError::NoMemory, "after some were had");
    }
    assert_eq!((live(6144), stats().large_objects), (0, 0));
    assert_eq!(Reservation::new(layout(1 << 46, 8), 3).unwrap_err(), ReserveError::NoMemory);
    assert_eq!(stats().large_objects, 0);
}

#[test]
fn numbers_at_the_ends() {
    let _alone = alone();
    assert_eq!(Reservation::new(layout(0, 8), 5).unwrap_err(), ReserveError::ZeroSize);
    assert_eq!(Reservation::new(layout(0, 8), 0).unwrap_err(), ReserveError::ZeroSize);
    let mut none = Reservation::new(layout(8, 8), 0).unwrap();
    assert_eq!((none.alloc(), none.len()), (None, 0));
    for (size, n) in [(8, usize::MAX), (8, usize::MAX / 8), (1, usize::MAX / 2), (isize::MAX as usize - 7, 2)] {
        assert_eq!(Reservation::new(layout(size, 1), n).unwrap_err(), ReserveError::NoMemory, "{size} {n}");
    }
    let far = Reservation::new(layout(1 << 62, 1 << 62), 1).unwrap_err();
    assert_eq!(far.to_string(), "not enough memory to set aside");
    assert!(format!("{none:?}").starts_with("Reservation { len: 0, layout: "));
}

/// Asks the kernel about each page of the objects, before anything is written by who takes them.
#[cfg(target_os = "linux")]
#[test]
fn every_page_is_resident() {
    let _alone = alone();
    if std::env::var_os("TEST_RUNNER").is_some() {
        return; // an emulator may say that it has made pages resident and do nothing (qemu)
    }
    // SAFETY: no memory is involved.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    for layout in [layout(64, 8), layout(5000, 8), layout(32768, 8), layout(1 << 20, 8), layout(3 << 20, 1 << 16)] {
        let mut reservation = Reservation::new(layout, 20).unwrap();
        while let Some(object) = reservation.alloc() {
            let first = object.addr().get() / page * page;
            let bytes = object.addr().get() + layout.size() - first;
            let mut resident = vec![0; bytes.div_ceil(page)];
            // SAFETY: the pages are mapped, and there is a byte for each.
            assert_eq!(unsafe { libc::mincore(first as *mut _, bytes, resident.as_mut_ptr()) }, 0);
            assert!(resident.iter().all(|page| page & 1 != 0), "{layout:?}");
            free(object, layout);
        }
    }
}

#[test]
fn it_may_go_to_the_thread_that_uses_it() {
    let _alone = alone();
    let layout = layout(192, 8);
    let mut reservation = Reservation::new(layout, 500).unwrap();
    let user = thread::spawn(move || {
        let _section = atomic_section();
        let mut n = 0;
        while let Some(object) = reservation.alloc() {
            // SAFETY: nobody else has seen it.
            unsafe { deferred_free(object.as_ptr(), layout) };
            n += 1;
        }
        n
    });
    assert_eq!(user.join().unwrap(), 500);
    barrier();
    assert_eq!((stats().deferred_objects, stats().marked_objects), (0, 0));
}
