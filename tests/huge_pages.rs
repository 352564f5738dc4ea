//! Which part of a heap asks for huge pages. Alone in its process: the heap's size is what decides.

#![cfg(all(target_os = "linux", not(miri)))]

use gracealloc::GraceAlloc;
use std::alloc::{GlobalAlloc, Layout};
use std::ops::Range;

/// The mappings of this process that ask for huge pages.
fn asking() -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let number = |text: &str| usize::from_str_radix(text, 16).ok();
    let start_and_end = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some(number(start)?..number(end)?)
    };
    let (mut last, mut asking) = (0..0, Vec::new());
    for line in maps.lines() {
        last = start_and_end(line).unwrap_or(last);
        if line.strip_prefix("VmFlags:").is_some_and(|flags| flags.split_whitespace().any(|flag| flag == "hg")) {
            asking.push(last.clone());
        }
    }
    asking
}

/// Whether a mapping that asks can be told from others here: some kernels have no huge pages, some emulators no flags.
fn can_be_seen() -> bool {
    let (bytes, prot, flags) = (1 << 22, libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, which stays.
    let at = unsafe { libc::mmap(std::ptr::null_mut(), bytes, prot, flags, -1, 0) };
    // SAFETY: the mapping just made; a kernel that refuses is seen below.
    unsafe { libc::madvise(at, bytes, libc::MADV_HUGEPAGE) };
    asking().iter().any(|range| range.contains(&at.addr()))
}

/// Takes so many MiB more; how many MiB of them ask for huge pages.
fn grow(mib: usize) -> usize {
    let page = Layout::new::<[u64; 512]>();
    // SAFETY: not of size 0.
    let taken: Vec<_> = (0..mib << 8).map(|_| unsafe { GraceAlloc.alloc(page) }.addr()).collect();
    assert!(!taken.contains(&0));
    let asking = asking();
    taken.iter().filter(|&at| asking.iter().any(|range| range.contains(at))).count() >> 8
}

#[test]
fn a_heap_asks_for_huge_pages_beyond_its_first_64_mib() {
    if !can_be_seen() {
        eprintln!("skipped: here nobody can tell who asks for huge pages");
        return;
    }
    assert_eq!(grow(56), 0, "a small heap");
    let asking = grow(72);
    assert!((60..=72).contains(&asking), "{asking} MiB of the second 64 MiB");
}
