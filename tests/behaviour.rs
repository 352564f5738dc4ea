//! What `GlobalAlloc` promises, at the edges of sizes and alignments, on every path.

use gracealloc::{GraceAlloc, is_global, stats, trim, usable_size};
use std::alloc::{GlobalAlloc, Layout};

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: a zero size is one of the things tested: it answers null.
    unsafe { GraceAlloc.alloc(layout) }
}

fn free(ptr: *mut u8, layout: Layout) {
    // SAFETY: callers pass what they allocated, once, with its layout.
    unsafe { GraceAlloc.dealloc(ptr, layout) }
}

fn bytes<'a>(ptr: *mut u8, n: usize) -> &'a mut [u8] {
    // SAFETY: callers pass a block of at least `n` bytes that is theirs and initialised (or just written).
    unsafe { std::slice::from_raw_parts_mut(ptr, n) }
}

/// Sizes around every class and beyond, with every alignment to 8 MiB.
fn layouts() -> impl Iterator<Item = Layout> {
    let sizes = [1, 7, 8, 15, 16, 17, 100, 127, 128, 129, 1000, 4095, 4096, 4097, 32_767, 32_768, 32_769, 200_000];
    (0..=23).flat_map(move |shift| sizes.into_iter().map(move |size| layout(size, 1 << shift)))
}

#[test]
fn every_block_is_aligned_writable_and_apart_from_the_others() {
    let blocks: Vec<_> = layouts().map(|l| (alloc(l), l)).collect();
    for (n, &(ptr, l)) in blocks.iter().enumerate() {
        assert!(!ptr.is_null(), "{l:?}");
        assert_eq!(ptr.addr() % l.align(), 0, "{l:?}");
        assert!(usable_size(ptr) >= Some(l.size()), "{l:?}");
        // SAFETY: a block of that size, ours.
        unsafe { ptr.write_bytes(n as u8, l.size()) };
    }
    for (n, &(ptr, l)) in blocks.iter().enumerate() {
        assert!(bytes(ptr, l.size()).iter().all(|&b| b == n as u8), "{l:?} was overwritten");
        free(ptr, l);
    }
}

#[test]
fn impossible_requests_are_answered_with_null() {
    let huge = isize::MAX as usize;
    for l in [layout(0, 1), layout(0, 4096), layout(0, 1 << 30), layout(huge, 1), layout(huge - 4095, 4096)] {
        assert!(alloc(l).is_null(), "{l:?}");
        // SAFETY: as above.
        assert!(unsafe { GraceAlloc.alloc_zeroed(l) }.is_null(), "{l:?}");
    }
    assert!(alloc(layout(1 << 48, 8)).is_null(), "more than there can be");
    let over_aligned = layout(1, 1 << 40);
    let ptr = alloc(over_aligned);
    if !ptr.is_null() {
        assert_eq!(ptr.addr() % over_aligned.align(), 0);
        free(ptr, over_aligned);
    }
}

#[test]
fn nothing_is_freed_as_nothing() {
    free(std::ptr::without_provenance_mut(1), layout(0, 1));
    free(std::ptr::null_mut(), layout(0, 64));
}

#[test]
fn zeroed_memory_is_zero_also_when_it_was_used_before() {
    for l in layouts().filter(|l| l.align() <= 1 << 16) {
        for _ in 0..3 {
            // SAFETY: the layout has a size.
            let ptr = unsafe { GraceAlloc.alloc_zeroed(l) };
            assert!(bytes(ptr, l.size()).iter().all(|&b| b == 0), "{l:?}");
            bytes(ptr, l.size()).fill(0xff);
            free(ptr, l);
        }
    }
}

#[cfg(target_os = "linux")]
const MIB: usize = 1 << 20;

/// Resident memory of this process, in bytes.
#[cfg(target_os = "linux")]
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))] // or the backing may know no way
fn trimming_gives_large_objects_back_from_below_one_in_use() {
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
    assert!(after + 32 * MIB < before, "{before} bytes became {after}"); // other tests may take some meanwhile
}

#[test]
#[cfg(target_os = "linux")]
fn fresh_zero_pages_are_not_touched() {
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

#[test]
fn growing_and_shrinking_keeps_what_fits() {
    let sizes = [1, 16, 17, 100, 112, 113, 5000, 32 << 10, (32 << 10) + 1, 1 << 20, 3 << 20, 40_000, 33_000, 200, 3];
    for align in [1, 16, 64, 4096, 1 << 17] {
        let mut now = layout(8, align);
        let mut ptr = alloc(now);
        bytes(ptr, 8).copy_from_slice(b"gracious");
        for size in sizes {
            // SAFETY: allocated with `now`; the new size is not zero.
            ptr = unsafe { GraceAlloc.realloc(ptr, now, size) };
            assert_eq!(ptr.addr() % align, 0);
            let kept = size.min(now.size()).min(8);
            assert_eq!(bytes(ptr, kept), &b"gracious"[..kept], "{now:?} to {size}");
            now = layout(size, align);
            bytes(ptr, size).fill(0);
            let whole = size.min(8);
            bytes(ptr, whole).copy_from_slice(&b"gracious"[..whole]);
            if size < 8 {
                break;
            }
        }
        free(ptr, now);
    }
}

#[test]
fn within_its_class_a_block_stays_where_it_is() {
    let ptr = alloc(layout(100, 8));
    // SAFETY: allocated with that layout; 97 to 112 bytes are one class.
    unsafe {
        assert_eq!(GraceAlloc.realloc(ptr, layout(100, 8), 112), ptr);
        assert_eq!(GraceAlloc.realloc(ptr, layout(112, 8), 97), ptr);
        assert_ne!(GraceAlloc.realloc(ptr, layout(97, 8), 113), ptr);
    }
}

#[test]
fn a_failed_realloc_leaves_the_block_as_it_was() {
    for size in [100, 100_000] {
        let l = layout(size, 8);
        let ptr = alloc(l);
        bytes(ptr, size).fill(7);
        // SAFETY: allocated with `l`; the new size fits a layout and no machine.
        assert!(unsafe { GraceAlloc.realloc(ptr, l, 1 << 48) }.is_null());
        assert!(bytes(ptr, size).iter().all(|&b| b == 7));
        assert!(usable_size(ptr) >= Some(size), "still known");
        free(ptr, l);
    }
}

#[test]
fn usable_size_knows_objects_and_nothing_else() {
    let small = alloc(layout(100, 8));
    let large = alloc(layout(100_000, 8));
    assert_eq!(usable_size(small), Some(112));
    assert_eq!(usable_size(large), Some(100_000));
    for inside in [small.wrapping_add(1), small.wrapping_add(16), large.wrapping_add(8), large.wrapping_add(8192)] {
        assert_eq!(usable_size(inside), None);
    }
    let local = 0u64;
    assert_eq!(usable_size((&raw const local).cast()), None);
    free(small, layout(100, 8));
    free(large, layout(100_000, 8));
    assert_eq!(usable_size(large), None, "given back");
}

#[test]
fn this_program_has_another_global_allocator() {
    assert!(!is_global());
    assert!(usable_size(Box::into_raw(Box::new(1u64)).cast()).is_none());
}

#[test]
fn statistics_count_what_is_live() {
    let l = layout(2900, 8); // a class that no other test here uses
    let live = || stats().classes.iter().find(|c| c.bytes == 3072).map_or(0, |c| c.live);
    let before = live();
    let blocks: Vec<_> = (0..1000).map(|_| alloc(l)).collect();
    assert_eq!(live(), before + 1000);
    blocks.into_iter().for_each(|ptr| free(ptr, l));
    assert_eq!(live(), before);
    assert!(stats().to_string().contains("class  3072 B"));
}

#[test]
#[cfg(target_os = "linux")]
fn errno_survives_the_slow_paths() {
    let l = layout(1 << 20, 8);
    // SAFETY: closing what is no descriptor fails with EBADF and does nothing else.
    assert_eq!(unsafe { libc::close(-1) }, -1);
    free(alloc(l), l);
    alloc(layout(1 << 48, 8));
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
}
