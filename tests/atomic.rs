//! Atomic context as a program sees it: served from what is there, never blocked, nothing lost.
//!
//! One test, so that nothing else in the process touches the caches between its steps.

#![cfg(not(miri))]

use gracealloc::{GraceAlloc, atomic_section, stats};
use std::alloc::{GlobalAlloc, Layout};

const SMALL: Layout = Layout::new::<[u64; 8]>();
const MIDDLE: Layout = Layout::new::<[u64; 600]>();
const LARGE: Layout = Layout::new::<[u64; 12_500]>();

fn alloc(layout: Layout) -> Option<*mut u8> {
    // SAFETY: the layouts here have a size.
    let ptr = unsafe { GraceAlloc.alloc(layout) };
    (!ptr.is_null()).then_some(ptr)
}

fn free(ptr: *mut u8, layout: Layout) {
    // SAFETY: each object is freed once, with its own layout.
    unsafe { GraceAlloc.dealloc(ptr, layout) }
}

/// Allocates in atomic context until there is nothing left.
fn exhaust(layout: Layout) -> Vec<*mut u8> {
    let mut objects = Vec::with_capacity(100_000);
    let _section = atomic_section();
    objects.extend(std::iter::from_fn(|| alloc(layout)).take(100_000));
    objects
}

/// A slow path of an ordinary caller fills the reserve up.
fn refill() {
    free(alloc(LARGE).unwrap(), LARGE);
}

fn the_reserve_is_resident_from_the_first_section_on() {
    const LAYOUT: Layout = Layout::new::<[u64; 1024]>();
    refill();
    let before = stats();
    assert_eq!((before.reserve_bytes, before.magazines_empty), (64 << 10, 0), "units set aside, and no more");
    let section = atomic_section();
    let object = alloc(LAYOUT).expect("the reserve has something");
    assert!(stats().magazines_empty > before.cells as u64, "and magazines: {}", stats());
    assert!(is_resident(object), "nobody has written there, and it does not fault");
    drop(section);
    free(object, LAYOUT);
    gracealloc::trim();
}

/// Whether the page at an address is there. Elsewhere than on Linux nobody is asked, nor under an emulator, which may say that
/// it has made pages resident and do nothing (qemu).
fn is_resident(at: *mut u8) -> bool {
    if cfg!(not(target_os = "linux")) || std::env::var_os("TEST_RUNNER").is_some() {
        return true;
    }
    let (page, mut answer) = (at.map_addr(|at| at & !4095), 0);
    // SAFETY: asks about a page of ours (a part of one, where pages are larger: then it refuses); one byte for the answer.
    unsafe { libc::mincore(page.cast(), 1, &mut answer) != 0 || answer & 1 == 1 }
}

fn atomic_callers_get_the_reserve_and_then_null() {
    refill();
    let before = stats();
    let objects = exhaust(MIDDLE);
    assert!(!objects.is_empty(), "the reserve had something");
    assert!(objects.len() * MIDDLE.size() <= before.reserve_bytes as usize, "from nowhere else");
    assert_eq!((stats().reserve_bytes, stats().segment_bytes), (0, before.segment_bytes));
    assert_eq!(alloc(LARGE).map(|ptr| free(ptr, LARGE)), Some(()), "outside the section there is memory");
    objects.into_iter().for_each(|ptr| free(ptr, MIDDLE));
}

fn units_of_the_reserve_are_used_again() {
    for _ in 0..500 {
        refill();
        exhaust(MIDDLE).into_iter().for_each(|ptr| free(ptr, MIDDLE));
        gracealloc::trim();
    }
    assert!(stats().segment_bytes <= 16 << 20, "500 times the reserve would be 64 MB: {}", stats());
}

fn the_rest_of_a_reserved_unit_stays_for_the_next_atomic_caller() {
    const LAYOUT: Layout = Layout::new::<[u64; 6]>();
    refill();
    let before = stats().reserve_bytes;
    let objects: Vec<_> = (0..600)
        .map(|_| {
            let _section = atomic_section();
            alloc(LAYOUT).unwrap()
        })
        .collect();
    assert_eq!(before - stats().reserve_bytes, 32 << 10, "one unit has room for all of them, in several magazines");
    objects.into_iter().for_each(|ptr| free(ptr, LAYOUT));
}

fn atomic_callers_get_no_large_object() {
    let _section = atomic_section();
    assert_eq!(alloc(LARGE), None);
    assert_eq!(gracealloc::trim(), 0);
}

fn frees_in_atomic_context_end_as_marks_and_come_back() {
    let objects: Vec<_> = (0..20_000).map(|_| alloc(SMALL).unwrap()).collect();
    let (large, before) = (alloc(LARGE).unwrap(), stats().free_marks);
    {
        let _section = atomic_section();
        objects.into_iter().for_each(|ptr| free(ptr, SMALL));
        free(large, LARGE);
    }
    assert!(stats().free_marks > before + 1, "more objects than magazines in reserve");
    gracealloc::trim();
    let stats = stats();
    assert_eq!((stats.live_bytes, stats.cached_bytes, stats.large_objects), (0, 0, 0), "{stats}");
}

#[test]
fn atomic_context() {
    the_reserve_is_resident_from_the_first_section_on(); // the first
    atomic_callers_get_the_reserve_and_then_null();
    the_rest_of_a_reserved_unit_stays_for_the_next_atomic_caller();
    atomic_callers_get_no_large_object();
    units_of_the_reserve_are_used_again();
    frees_in_atomic_context_end_as_marks_and_come_back();
}
