//! Proves: without the worker its work is done by those who call, and by nobody else. The program has one thread from
//! beginning to end.
//!
//! - What is deferred stays pending when nobody calls, and while a reader is inside; `drive()` says so, and brings it
//!   back later.
//! - Cookies ripen by being polled; `synchronize`, its timed form and `barrier` return; none waits for its own caller.
//! - A flood far beyond the budget helps itself: it waits shortly, marks nothing and stays within the budget.
//! - Destructors run in `drive()` and `barrier()` alone, on the thread that calls them. An atomic caller hands over what it
//!   can and is told `Full` then.

use std::alloc::Layout;
use std::panic;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_epoch as epoch;
use gracealloc::{Config, GraceAlloc, GraceCookie};
use integration::counted::{self, Counted};
use integration::deferral::{defer, pending};
use integration::{Summary, View, os, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const BUDGET: usize = 1 << 20;
/// Whoever waits that long waits in vain.
const WAIT_LIMIT: Duration = Duration::from_secs(40);
const LATE: Duration = Duration::from_secs(15);
/// Longer than the drain delay, so that a worker would have acted.
const A_WHILE: Duration = Duration::from_millis(100);

const OBJECTS: usize = 2000;
const FLOOD: usize = 300_000;
const SIZE: usize = 256;
const ROUNDS: u64 = 100;
/// More than any pool of entries that is kept for atomic callers holds.
const HANDED_OVER: usize = 1 << 17;

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let config = Config::new().worker(false).budget_bytes(BUDGET).wait_limit(WAIT_LIMIT);
    require!(gracealloc::configure(config).is_ok(), "the configuration is refused");
    nobody_drives();
    a_reader_is_inside();
    grace_periods();
    let (waits, peak) = flood();
    let drops = destructors();
    let accepted = destructors_of_an_atomic_caller();
    Summary::new("worker_off")
        .with("rseq", gracealloc::stats().rseq.into())
        .with("threads", os::threads().expect("/proc") as u64)
        .with("grace_periods", gracealloc::stats().grace_periods)
        .with("flood", FLOOD as u64)
        .with("inline_waits", waits)
        .with("marks", gracealloc::stats().deferred_marks)
        .with("peak_bytes", peak)
        .with("drops", drops)
        .with("accepted", accepted)
        .print();
}

fn defer_one() -> View {
    defer(Layout::from_size_align(SIZE, 8).expect("valid"), 7)
}

/// Drives until nothing is pending.
fn drive() {
    let start = Instant::now();
    while gracealloc::drive() {
        require!(start.elapsed() < LATE, "drive() comes to no end: {:?}", gracealloc::stats());
        thread::yield_now();
    }
    require!(pending() == 0, "drive() says that nothing is pending, but {} objects are", pending());
}

fn nobody_drives() {
    (0..OBJECTS).for_each(|_| _ = defer_one());
    let before = pending();
    require!(before > 0, "all has come back, although nobody drives");
    thread::sleep(A_WHILE);
    require!(pending() == before, "{} of {before} objects are pending, although nobody drives", pending());
    drive();
}

fn a_reader_is_inside() {
    let guard = epoch::pin();
    let views: Vec<_> = (0..OBJECTS).map(|_| defer_one()).collect();
    let (start, mut steps) = (Instant::now(), 0);
    while start.elapsed() < A_WHILE {
        require!(gracealloc::drive(), "drive() says that nothing is pending");
        steps += 1;
    }
    require!(steps > 10, "drive() waited for its own caller: {steps} steps in {A_WHILE:?}");
    require!(pending() == OBJECTS as u64, "{} of {OBJECTS} objects are pending in a reader", pending());
    // SAFETY: deferred after this thread entered.
    views.iter().for_each(|view| unsafe { view.verify() });
    drop(guard);
    drive();
}

fn grace_periods() {
    let guard = epoch::pin();
    let cookie = GraceCookie::now();
    let start = Instant::now();
    while start.elapsed() < A_WHILE {
        require!(!cookie.is_elapsed(), "a grace period has passed over a reader");
    }
    refuses(gracealloc::synchronize);
    drop(guard);
    let section = gracealloc::atomic_section();
    refuses(gracealloc::synchronize);
    drop(section);
    // A cookie asks for nothing; what is deferred does, when a page is sealed.
    defer_one();
    gracealloc::drive();
    let start = Instant::now();
    while !cookie.is_elapsed() {
        require!(start.elapsed() < LATE, "a polled cookie does not ripen");
    }
    GraceCookie::now().wait();
    gracealloc::synchronize();
    require!(gracealloc::synchronize_timeout(LATE).is_ok(), "stalled without a reader");
    gracealloc::barrier();
}

/// The function panics and does not wait for its own caller.
fn refuses(wait: fn()) {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    require!(panic::catch_unwind(wait).is_err(), "waited for its own caller");
    panic::set_hook(hook);
}

/// Returns how often it waited, and how many bytes were pending at most.
fn flood() -> (u64, u64) {
    let before = gracealloc::stats();
    let start = Instant::now();
    for _ in 0..FLOOD {
        defer_one();
        require!(start.elapsed() < LATE, "a caller does not help itself");
    }
    let after = gracealloc::stats();
    let marks = after.deferred_marks - before.deferred_marks;
    require!(marks == 0, "{marks} marks, although grace periods pass");
    require!(after.deferred_peak_bytes <= BUDGET as u64, "{} bytes were pending", after.deferred_peak_bytes);
    gracealloc::barrier();
    require!(pending() == 0, "{} objects are pending after a barrier", pending());
    (after.inline_waits - before.inline_waits, after.deferred_peak_bytes)
}

/// Returns how many have run.
fn destructors() -> u64 {
    let due = counted::defer(ROUNDS);
    (0..OBJECTS).for_each(|_| _ = defer_one());
    gracealloc::synchronize();
    require!(counted::drops() == 0, "a destructor ran outside of drive() and barrier()");
    gracealloc::barrier();
    require!(counted::drops() == due, "{} of {due} destructors have run in barrier()", counted::drops());
    require!(counted::dropping_thread() == os::thread_id(), "a destructor ran on another thread");
    let due = due + counted::defer(ROUNDS);
    drive();
    require!(counted::drops() == due, "{} of {due} destructors have run in drive()", counted::drops());
    counted::drops()
}

/// Returns how many it could hand over.
fn destructors_of_an_atomic_caller() -> u64 {
    let before = counted::drops();
    // Made before: null is allowed in atomic sections.
    let mut things: Vec<_> = (0..HANDED_OVER).map(|_| Box::into_raw(Box::new(Counted::new()))).collect();
    let section = gracealloc::atomic_section();
    // SAFETY: from boxes, and nobody else has ever seen them; who is refused stays ours.
    while things.last().is_some_and(|&thing| unsafe { gracealloc::try_defer_drop(thing) }.is_ok()) {
        things.pop();
    }
    drop(section);
    let accepted = (HANDED_OVER - things.len()) as u64;
    require!(counted::drops() == before, "a destructor ran in an atomic section");
    drive();
    require!(counted::drops() == before + accepted, "{} destructors, {accepted} due", counted::drops() - before);
    // SAFETY: refused, so still ours.
    things.into_iter().for_each(|thing| drop(unsafe { Box::from_raw(thing) }));
    require!(os::threads().expect("/proc") == 1, "there is another thread");
    accepted
}
