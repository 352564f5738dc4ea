//! Deferral where it goes to the edge of a process: a fork in the middle of things, no memory, the worker off. Each in a
//! process of its own.

#![cfg(all(unix, not(miri)))]

mod common;

use gracealloc::*;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the layout has a size.
    unsafe { GraceAlloc.alloc(layout) }
}

fn defer(ptr: *mut u8, layout: Layout) {
    // SAFETY: callers pass what `alloc` gave them, once; nobody else has seen it.
    unsafe { deferred_free(ptr, layout) }
}

struct Counts(&'static AtomicU32);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn drop_later(count: &'static AtomicU32) {
    // SAFETY: from a box, and nobody else has seen it.
    unsafe { defer_drop(Box::into_raw(Box::new(Counts(count)))) };
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Leaves destructors and deferred objects until it is stopped, not too many at a time.
fn keep_deferring() {
    static LEFT: AtomicU32 = AtomicU32::new(0);
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    let layout = Layout::new::<[u64; 16]>();
    while !STOP.load(Relaxed) {
        if LEFT.load(Relaxed).wrapping_sub(DROPPED.load(Relaxed)) > 400 {
            thread::yield_now();
            continue;
        }
        LEFT.fetch_add(20, Relaxed);
        (0..20).for_each(|_| drop_later(&DROPPED));
        (0..500).for_each(|_| defer(alloc(layout), layout));
    }
}

/// Whatever other threads stood in the middle of at the fork, the child goes on.
fn a_child_can_use_what_it_inherits() {
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(keep_deferring)).collect();
    let begin = Instant::now();
    let mut children = Vec::new();
    while begin.elapsed() < Duration::from_secs(3) {
        children.push(outcome_of_a_child());
    }
    STOP.store(true, Relaxed);
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert!(children.iter().all(|&status| status == 0), "of {} children: {children:x?}", children.len());
}

/// Forks; the child defers, waits, and finds that what it left was dropped. 0 if so.
fn outcome_of_a_child() -> i32 {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    // SAFETY: the child only uses this allocator and ends.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::alarm(10);
            for _ in 0..3 {
                drop_later(&DROPPED);
                defer(alloc(Layout::new::<[u64; 8]>()), Layout::new::<[u64; 8]>());
                barrier();
            }
            libc::_exit(i32::from(DROPPED.load(Relaxed) != 3));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
        status
    }
}

/// Allocates all there is of a size, in a list through the objects.
fn exhaust(layout: Layout) -> *mut u8 {
    let mut head = std::ptr::null_mut();
    loop {
        let ptr = alloc(layout);
        if ptr.is_null() {
            return head;
        }
        // SAFETY: just allocated, and large enough.
        unsafe { ptr.cast::<*mut u8>().write(head) };
        head = ptr;
    }
}

/// A thread that has never used crossbeam defers when there is no memory: what crossbeam allocates on its first use, and
/// ends the process without, comes from the reserve.
fn deferring_needs_no_memory() {
    let layout = Layout::new::<[u64; 256]>();
    let (go, wait) = mpsc::sync_channel::<usize>(0);
    let (up, is_up) = mpsc::sync_channel::<()>(0);
    let deferring = thread::spawn(move || {
        up.send(()).unwrap();
        let mut head: *mut u8 = std::ptr::with_exposed_provenance_mut(wait.recv().unwrap());
        while !head.is_null() {
            // SAFETY: the list that the main thread made.
            let next = unsafe { head.cast::<*mut u8>().read() };
            defer(head, layout);
            head = next;
        }
        // SAFETY: without memory the rest of the process would not end in peace.
        unsafe { libc::_exit(0) };
    });
    is_up.recv().unwrap(); // a thread's start needs memory
    let used: u64 = std::fs::read_to_string("/proc/self/statm").unwrap().split(' ').next().unwrap().parse().unwrap();
    let limit = libc::rlimit { rlim_cur: used * 4096 + (24 << 20), rlim_max: libc::RLIM_INFINITY };
    // SAFETY: this process's own limit.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    let head = exhaust(layout);
    for size in [4096, 1024, 512, 256, 128, 64, 32, 16] {
        exhaust(Layout::from_size_align(size, 8).unwrap());
    }
    go.send(head.expose_provenance()).unwrap();
    deferring.join().unwrap();
}

/// Many threads at the edge of the budget: none of them gets a page too many.
fn pages_never_hold_more_than_the_budget() {
    configure(Config::new().budget_bytes(1 << 20).wait_limit(Duration::from_millis(1))).unwrap();
    let (layout, end) = (Layout::new::<[u8; 4096]>(), Instant::now() + Duration::from_secs(2));
    thread::scope(|s| {
        for _ in 0..8 {
            s.spawn(|| {
                while Instant::now() < end {
                    (0..20).for_each(|_| defer(alloc(layout), layout));
                }
            });
        }
        while Instant::now() < end {
            let stats = stats();
            // A page that moves from its slot to its queue meanwhile counts twice.
            assert!(stats.deferred_bytes <= stats.budget_bytes * 3 / 2, "{stats}");
        }
    });
    assert!(stats().inline_waits > 0, "{}", stats());
}

/// The first deferral starts the worker, which brings it back without another call of ours.
fn one_object_comes_back_by_itself() {
    let layout = Layout::new::<[u64; 16]>();
    defer(alloc(layout), layout);
    let begin = Instant::now();
    // Not "until nothing is pending": what the worker has in hand is in no figure for a moment.
    while stats().pages_recycled == 0 {
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", stats());
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!((stats().pages_recycled, stats().deferred_objects), (1, 0), "{}", stats());
}

/// Without a worker callers that help, `drive` and `barrier` do all of it.
fn everything_comes_back_without_a_worker() {
    static DROPPED: AtomicU32 = AtomicU32::new(0);
    configure(Config::new().worker(false)).unwrap();
    let layout = Layout::new::<[u64; 16]>();
    for _ in 0..100_000 {
        defer(alloc(layout), layout);
    }
    assert!(stats().pages_recycled > 100, "callers help: {}", stats());
    (0..10).for_each(|_| drop_later(&DROPPED));
    while drive() {}
    assert_eq!((stats().deferred_objects, DROPPED.load(Relaxed)), (0, 10), "{}", stats());
    let cookie = GraceCookie::now();
    defer(alloc(layout), layout); // wants a grace period
    while !cookie.is_elapsed() && drive() {}
    drop_later(&DROPPED);
    barrier();
    assert_eq!((stats().deferred_objects, DROPPED.load(Relaxed)), (0, 11), "{}", stats());
}

#[test]
#[ignore = "a child of the other tests, which start it with a task"]
fn child() {
    match common::task().as_deref() {
        Some("fork") => a_child_can_use_what_it_inherits(),
        Some("memory") => deferring_needs_no_memory(),
        Some("budget") => pages_never_hold_more_than_the_budget(),
        Some("first") => one_object_comes_back_by_itself(),
        Some("worker") => everything_comes_back_without_a_worker(),
        task => panic!("no task {task:?}"),
    }
}

fn passes_alone(task: &str) {
    assert!(common::child(task).status().unwrap().success(), "{task}");
}

#[test]
fn forked_children_use_what_they_inherit() {
    passes_alone("fork");
}

#[test]
fn deferral_needs_no_memory() {
    passes_alone("memory");
}

#[test]
fn the_budget_holds_at_its_edge() {
    passes_alone("budget");
}

#[test]
fn the_first_deferral_starts_the_worker() {
    passes_alone("first");
}

#[test]
fn a_program_without_a_worker() {
    passes_alone("worker");
}
