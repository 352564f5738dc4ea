//! How much of the process is resident: each test alone, since there is one figure for all of them.
#![cfg(target_os = "linux")]

use gracealloc::{GraceAlloc, trim};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Held by a test while it runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the layouts here have a size.
    unsafe { GraceAlloc.alloc(layout) }
}

fn free(ptr: *mut u8, layout: Layout) {
    // SAFETY: callers pass what they allocated, once, with its layout.
    unsafe { GraceAlloc.dealloc(ptr, layout) }
}

const MIB: usize = 1 << 20;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[cfg(target_env = "gnu")] // or the backing may know no way
fn trimming_gives_large_objects_back_from_below_one_in_use() {
    let _alone = alone();
    let l = layout(100_000, 8);
    let mut blocks: Vec<_> = (0..64 * MIB / l.size()).map(|_| alloc(l)).collect();
    // SAFETY: blocks of that size, ours.
    blocks.iter().for_each(|&ptr| unsafe { ptr.write_bytes(1, l.size()) });
    let last = blocks.pop().unwrap();
    let before = resident();
    blocks.into_iter().for_each(|ptr| free(ptr, l));
    trim();
    let after = resident();
    free(last, l);
    assert!(after + 32 * MIB < before, "{before} bytes became {after}");
}

#[test]
fn fresh_zero_pages_are_not_touched() {
    let _alone = alone();
    for size in [8 << 10, 32 << 10, 8 * MIB] {
        trim();
        let (l, n) = (layout(size, 8), 64 * MIB / size);
        let before = resident();
        // SAFETY: the layout has a size.
        let blocks: Vec<_> = (0..n).map(|_| unsafe { GraceAlloc.alloc_zeroed(l) }).collect();
        let grown = resident().saturating_sub(before);
        blocks.into_iter().for_each(|ptr| free(ptr, l));
        assert!(grown < 16 * MIB, "64 MiB in blocks of {size}: {grown} bytes became resident");
    }
}
