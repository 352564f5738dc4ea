//! Each cell of the table of contexts that exists by now: who may use what, and what happens when it is used up.
//!
//! | | preemptible | reader | atomic |
//! | --- | --- | --- | --- |
//! | slots, tagged stacks | yes | yes | yes |
//! | spans, backing, system calls | yes | yes | no |
//! | reserve of magazines | above the low-water mark | above it | all of it |
//! | `alloc`, nothing cached | backing | backing | pre-faulted memory, then null |
//! | `dealloc`, no magazine | span | span | free mark |
//!
//! The heap is one per process, so the tests take turns; the counters of `stats()` say which way a call went.

use gracealloc::{Config, Context, GraceAlloc, Stats, atomic_section, configure, context, stats, trim};
use std::alloc::{GlobalAlloc, Layout};
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard};

static TURN: Mutex<()> = Mutex::new(());

/// Waits for this test's turn and starts from empty caches with a full reserve.
fn turn() -> MutexGuard<'static, ()> {
    let guard = TURN.lock().unwrap_or_else(|e| e.into_inner());
    warm(small());
    trim();
    drop(atomic_section()); // from the first on there are magazines in reserve
    pass();
    guard
}

fn small() -> Layout {
    Layout::new::<[u64; 8]>()
}

fn large() -> Layout {
    Layout::new::<[u8; 100_000]>()
}

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: no layout here is empty.
    unsafe { GraceAlloc.alloc(layout) }
}

fn free(ptr: *mut u8, layout: Layout) {
    // SAFETY: callers pass what `alloc` gave them, once, with its layout.
    unsafe { GraceAlloc.dealloc(ptr, layout) }
}

fn warm(layout: Layout) {
    free(alloc(layout), layout);
}

/// A slow path in preemptible context that is not about small objects: upkeep happens in passing.
fn pass() {
    warm(large());
}

fn class(stats: &Stats, layout: Layout) -> (u64, u64) {
    stats.classes.iter().find(|c| c.bytes == layout.size()).map_or((0, 0), |c| (c.live, c.cached))
}

/// Allocates until null; every object is written, and none may be handed out twice.
fn exhaust(layout: Layout) -> HashSet<*mut u8> {
    let mut objects = HashSet::new();
    loop {
        let ptr = alloc(layout);
        if ptr.is_null() {
            return objects;
        }
        // SAFETY: just allocated with this layout.
        unsafe { ptr.write_bytes(0x5a, layout.size()) };
        assert!(objects.insert(ptr), "{ptr:p} handed out twice");
    }
}

#[test]
fn contexts_are_told_apart_and_nest() {
    let _turn = turn();
    assert_eq!(context(), Context::Preemptible);
    let guard = crossbeam_epoch::pin();
    assert_eq!(context(), Context::Reader);
    let section = atomic_section();
    assert_eq!(context(), Context::Atomic, "atomic is the stricter one");
    drop(section);
    assert_eq!(context(), Context::Reader);
    drop(guard);
    assert_eq!(context(), Context::Preemptible);
}

#[test]
fn slots_and_depot_serve_every_context() {
    let _turn = turn();
    for context in [Context::Preemptible, Context::Reader, Context::Atomic] {
        let many: Vec<_> = (0..2000).map(|_| alloc(small())).collect();
        many.iter().for_each(|&p| free(p, small())); // slots and depot have them now
        let _guard = (context == Context::Reader).then(crossbeam_epoch::pin);
        let _section = (context == Context::Atomic).then(atomic_section);
        let before = stats();
        let again: Vec<_> = (0..2000).map(|_| alloc(small())).collect();
        assert!(again.iter().all(|p| !p.is_null()), "{context:?}");
        again.iter().for_each(|&p| free(p, small()));
        let after = stats();
        assert_eq!(before.reserve_bytes, after.reserve_bytes, "{context:?}: the reserve was not needed");
        assert_eq!(before.free_marks, after.free_marks, "{context:?}: no mark was needed");
    }
}

#[test]
fn preemptible_callers_and_readers_get_memory_from_the_backing() {
    let _turn = turn();
    for reader in [false, true] {
        let _guard = reader.then(crossbeam_epoch::pin);
        let before = stats();
        let objects: Vec<_> = (0..200_000).map(|_| alloc(small())).collect();
        assert!(objects.iter().all(|p| !p.is_null()));
        assert!(stats().segment_bytes > before.segment_bytes, "12.8 MB need more segments");
        let big = alloc(large());
        assert!(!big.is_null());
        free(big, large());
        objects.iter().for_each(|&p| free(p, small()));
        trim();
    }
}

#[test]
fn atomic_callers_get_the_reserve_and_then_null() {
    let _turn = turn();
    let before = stats();
    assert!(before.reserve_bytes >= 64 << 10, "a full reserve to begin with: {before}");
    let section = atomic_section();
    let objects = exhaust(small());
    let empty = stats();
    drop(section);
    assert_eq!(empty.reserve_bytes, 0, "all of it was used");
    assert_eq!(empty.segment_bytes, before.segment_bytes, "and no segment was added");
    let reserved = before.reserve_bytes as usize / small().size();
    assert!(objects.len() >= reserved, "{} objects of {reserved} in the reserve", objects.len());
    pass();
    assert!(stats().reserve_bytes >= before.reserve_bytes, "the next preemptible slow path filled it again");
    objects.into_iter().for_each(|p| free(p, small()));
    assert_eq!(class(&stats(), small()).0, class(&before, small()).0, "none lost");
}

#[test]
fn the_reserve_serves_each_class_and_nothing_larger() {
    let _turn = turn();
    for size in [16, 48, 1000, 4096, 30_000, 32 << 10] {
        let layout = Layout::from_size_align(size, 16).unwrap();
        let section = atomic_section();
        let ptr = alloc(layout);
        assert!(!ptr.is_null(), "{size}");
        assert!(alloc(large()).is_null(), "large objects are the backing's");
        free(ptr, layout);
        drop(section);
        pass();
    }
}

#[test]
fn atomic_callers_use_the_last_empty_magazine_and_then_mark() {
    let _turn = turn();
    let objects: Vec<_> = (0..200_000).map(|_| alloc(small())).collect();
    let before = stats();
    assert!(before.magazines_empty > 0);
    let section = atomic_section();
    objects.iter().for_each(|&p| free(p, small()));
    let after = stats();
    drop(section);
    assert_eq!(after.magazines_empty, 0, "all of the reserve of magazines");
    assert_eq!(after.magazines, before.magazines, "and no new one");
    let marked = after.free_marks - before.free_marks;
    assert!(marked > 0 && marked < 200_000, "the rest by marks: {marked}");
    assert!(class(&after, small()).0 >= marked, "marked objects are not free yet");
    pass();
    assert_eq!(class(&stats(), small()).0, class(&before, small()).0 - 200_000, "now they are");
}

#[test]
fn preemptible_callers_and_readers_leave_the_reserve_of_magazines_alone() {
    let _turn = turn();
    for reader in [false, true] {
        let objects: Vec<_> = (0..200_000).map(|_| alloc(small())).collect();
        let _guard = reader.then(crossbeam_epoch::pin);
        let before = stats();
        objects.iter().for_each(|&p| free(p, small()));
        let after = stats();
        assert_eq!(after.free_marks, before.free_marks, "no marks: they wait for the span's lock");
        assert!(after.magazines_empty >= u64::from(after.cells) * 5, "the low-water mark stands: {after}");
        assert_eq!(class(&after, small()).0, class(&before, small()).0 - 200_000);
    }
}

#[test]
fn a_large_object_freed_in_atomic_context_is_marked() {
    let _turn = turn();
    let before = stats();
    let ptr = alloc(large());
    let section = atomic_section();
    free(ptr, large());
    let after = stats();
    drop(section);
    assert_eq!((after.free_marks, after.large_objects), (before.free_marks + 1, before.large_objects + 1));
    pass();
    assert_eq!(stats().large_objects, before.large_objects, "the next slow path gave it back");
}

#[test]
fn trim_does_nothing_in_atomic_context() {
    let _turn = turn();
    warm(small());
    let section = atomic_section();
    assert_eq!(trim(), 0);
    drop(section);
    assert!(class(&stats(), small()).1 > 0, "still cached");
}

#[test]
fn the_reserve_is_as_large_as_configured() {
    let _turn = turn();
    configure(Config::new().reserve_bytes(1 << 20).reserve_magazines(20)).unwrap();
    pass();
    let stats = stats();
    assert!(stats.reserve_bytes >= 1 << 20);
    assert!(stats.magazines_empty >= u64::from(stats.cells) * 20);
    configure(Config::new().reserve_bytes(64 << 10).reserve_magazines(5)).unwrap();
}
