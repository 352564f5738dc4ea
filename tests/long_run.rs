//! What must not pile up, and who must not be left without: each of these was a counter-example once.

#![cfg(target_os = "linux")]

mod common;

use gracealloc::{Config, GraceAlloc, atomic_section, configure, stats, trim, usable_size};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const SMALL: Layout = Layout::new::<[u64; 8]>();
const UNIT: Layout = Layout::new::<[u8; 32 << 10]>();
const LARGE: Layout = Layout::new::<[u8; 100_000]>();

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: no layout here is empty.
    unsafe { GraceAlloc.alloc(layout) }
}

fn free(ptr: *mut u8, layout: Layout) {
    // SAFETY: callers pass what `alloc` gave them, once, with its layout.
    unsafe { GraceAlloc.dealloc(ptr, layout) }
}

/// Keeps this thread on a CPU, if there is such a one.
fn stay_on(cpu: usize) {
    // SAFETY: a CPU set is plain data, and only this thread's is changed.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}

/// Bytes of address space, and of those in memory.
fn address_space() -> (usize, usize) {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mut pages = text.split_whitespace().map(|number| number.parse::<usize>().unwrap());
    (pages.next().unwrap() * 4096, pages.next().unwrap() * 4096)
}

/// Magazines travel from the CPU that frees in atomic context to the one that allocates.
fn magazines_do_not_pile_up_where_they_are_emptied() {
    let (send, receive) = std::sync::mpsc::sync_channel::<Vec<usize>>(4);
    let other = thread::spawn(move || {
        stay_on(1);
        for objects in receive {
            let section = atomic_section();
            objects.iter().for_each(|&p| free(p as *mut u8, SMALL));
            drop(section);
            free(alloc(LARGE), LARGE); // an ordinary slow path on this CPU: fills its reserve
        }
    });
    stay_on(0);
    for _ in 0..10_000 {
        send.send((0..200).map(|_| alloc(SMALL).expose_provenance()).collect()).unwrap();
    }
    drop(send);
    other.join().unwrap();
    assert!(stats().magazines < 500, "{}", stats());
}

/// Any address may be asked about at any time, also where a segment just went.
fn usable_size_may_race_with_segments_that_go() {
    static AT: AtomicUsize = AtomicUsize::new(0);
    static STOP: AtomicBool = AtomicBool::new(false);
    let asking = thread::spawn(|| {
        while !STOP.load(Relaxed) {
            let at = AT.load(Relaxed);
            for n in 0..64 {
                std::hint::black_box(usable_size(std::ptr::without_provenance(at.wrapping_sub(n << 20))));
            }
        }
    });
    for _ in 0..200 {
        let objects: Vec<_> = (0..512).map(|_| alloc(UNIT)).collect();
        AT.store(objects[511].addr(), Relaxed);
        objects.into_iter().for_each(|p| free(p, UNIT));
        trim();
    }
    STOP.store(true, Relaxed);
    asking.join().expect("no panic");
}

/// Forks, and judges by the exit status what `child` answers there.
fn in_a_child(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child does nothing but `child` and `_exit`.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(if child() { 0 } else { 1 });
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
        libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }
}

/// In the child the thread that was filling the reserve, or was inside a locked slot, is not there any more.
fn a_forked_child_is_not_left_with_what_others_were_doing() {
    static STOP: AtomicBool = AtomicBool::new(false);
    configure(Config::new().reserve_bytes(8 << 20)).unwrap();
    let exhaust = || {
        let _section = atomic_section();
        while !alloc(UNIT).is_null() {}
    };
    let busy: Vec<_> = (0..2)
        .map(|_| {
            thread::spawn(|| {
                while !STOP.load(Relaxed) {
                    (0..1000).for_each(|_| free(alloc(SMALL), SMALL));
                    let units: Vec<_> = {
                        let _section = atomic_section();
                        (0..20).map(|_| alloc(UNIT)).filter(|p| !p.is_null()).collect()
                    };
                    free(alloc(LARGE), LARGE); // fills the reserve again
                    units.into_iter().for_each(|p| free(p, UNIT));
                }
            })
        })
        .collect();
    let mut failed = 0;
    for _ in 0..40 {
        thread::yield_now();
        failed += u32::from(!in_a_child(|| {
            exhaust();
            free(alloc(LARGE), LARGE);
            let marks = stats().free_marks;
            let section = atomic_section();
            (0..1000).for_each(|_| free(alloc(SMALL), SMALL));
            drop(section);
            stats().reserve_bytes > 0 && stats().free_marks - marks < 100
        }));
    }
    STOP.store(true, Relaxed);
    busy.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(failed, 0, "of 40 children");
    configure(Config::new().reserve_bytes(64 << 10)).unwrap();
}

/// A program that had its peak goes on with what its caches can do.
fn what_a_peak_leaves_decays() {
    configure(Config::new().decay(Duration::from_millis(10))).unwrap();
    let peak: Vec<_> = (0..2000).map(|_| alloc(UNIT)).collect();
    // SAFETY: blocks of that size, ours.
    peak.iter().for_each(|&p| unsafe { p.write_bytes(1, UNIT.size()) });
    let (before, begin) = (address_space().1, Instant::now());
    peak.into_iter().for_each(|p| free(p, UNIT));
    while address_space().1 + (32 << 20) > before {
        let few: Vec<_> = (0..600).map(|_| alloc(SMALL)).collect();
        few.into_iter().for_each(|p| free(p, SMALL));
        assert!(begin.elapsed() < Duration::from_secs(20), "{} of {before} bytes: {}", address_space().1, stats());
        thread::sleep(Duration::from_millis(1));
    }
}

/// A growing vector gets the memory that the caches hold.
fn realloc_gives_back_what_is_cached_before_it_fails() {
    let objects: Vec<_> = (0..2_000_000).map(|_| alloc(SMALL)).collect();
    objects.into_iter().for_each(|p| free(p, SMALL));
    let ptr = alloc(LARGE);
    let limit = (address_space().0 + (40 << 20)) as u64;
    // SAFETY: this process's own limit.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &libc::rlimit { rlim_cur: limit, rlim_max: limit }) };
    // SAFETY: allocated with that layout.
    assert!(!unsafe { GraceAlloc.realloc(ptr, LARGE, 100 << 20) }.is_null(), "{}", stats());
}

#[test]
#[ignore = "a child of the other tests, which start it with a task"]
fn child() {
    match common::task().as_deref() {
        Some("magazines") => magazines_do_not_pile_up_where_they_are_emptied(),
        Some("usable") => usable_size_may_race_with_segments_that_go(),
        Some("fork") => a_forked_child_is_not_left_with_what_others_were_doing(),
        Some("peak") => what_a_peak_leaves_decays(),
        Some("realloc") => realloc_gives_back_what_is_cached_before_it_fails(),
        task => panic!("no task {task:?}"),
    }
}

/// Each in a process of its own: they pin threads, set limits and fork.
fn passes_alone(task: &str) {
    assert!(common::child(task).status().unwrap().success(), "{task}");
}

#[test]
fn magazines_do_not_pile_up() {
    passes_alone("magazines");
}

#[test]
fn usable_size_may_race_with_trim() {
    passes_alone("usable");
}

#[test]
fn forked_children_have_their_reserve_and_their_slots() {
    passes_alone("fork");
}

#[test]
fn peaks_decay() {
    passes_alone("peak");
}

#[test]
fn realloc_reclaims() {
    passes_alone("realloc");
}
