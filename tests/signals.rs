//! Signals as fast as they can be taken, by threads that read, allocate, free and defer; the handlers do the same.
//!
//! ```text
//!   timers    one for each thread, every fifty microseconds: nobody else need run for a signal to come
//!   sender    bursts of tgkill, to one thread after the other
//!   thread    read, look │ allocate, publish, defer what was there │ allocate, free
//!   handler   the same, in an atomic section, wherever it lands
//! ```
//!
//! Each object says in its first word whether it is in use, deferred or free: what is handed out twice, given back twice or
//! given back under a reader is met by somebody. Afterwards nothing is deferred, and no object of these classes is in use.
//! `SIGNALS=<number>` takes so many; the last line is the summary.

#![cfg(all(target_os = "linux", not(miri)))]

mod common;

use gracealloc::{GraceAlloc, atomic_section, barrier, deferred_free, read, stats};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

/// Signals taken in an ordinary run, and how long that may last.
const SIGNALS: u64 = 50_000;
const LIMIT: Duration = Duration::from_secs(300);
const THREADS: usize = 3;
const SLOTS: usize = 16;
/// Sizes that nothing else in this program uses much.
const LAYOUTS: [Layout; 2] = [Layout::new::<[u64; 37]>(), Layout::new::<[u64; 75]>()];

/// What an object's first word says. Anything else was never ours.
const IN_USE: u64 = 0x1357_9bdf_0246_8ace;
const DEFERRED: u64 = IN_USE + 1;
const FREE: u64 = IN_USE + 2;

static PUBLISHED: [AtomicPtr<AtomicU64>; SLOTS] = [const { AtomicPtr::new(ptr::null_mut()) }; SLOTS];
static TURN: AtomicU64 = AtomicU64::new(0);
static HANDLED: AtomicU64 = AtomicU64::new(0);
static NULLS: AtomicU64 = AtomicU64::new(0);
static WRONG: AtomicU64 = AtomicU64::new(0);
static THREAD_IDS: [AtomicI32; THREADS] = [const { AtomicI32::new(0) }; THREADS];
static STOP: AtomicBool = AtomicBool::new(false);

fn expect(right: bool) {
    WRONG.fetch_add(u64::from(!right), Relaxed); // no panic in a handler
}

fn alloc(layout: Layout) -> Option<&'static AtomicU64> {
    // SAFETY: the layout has a size; an integer's every value is valid.
    let object = unsafe { GraceAlloc.alloc(layout).cast::<AtomicU64>().as_ref() };
    match object {
        Some(state) => expect(state.swap(IN_USE, AcqRel) != IN_USE),
        None => _ = NULLS.fetch_add(1, Relaxed),
    }
    object
}

fn free(object: &AtomicU64, layout: Layout) {
    expect(object.swap(FREE, AcqRel) == IN_USE);
    // SAFETY: allocated with this layout, and nobody else has known it.
    unsafe { GraceAlloc.dealloc(ptr::from_ref(object).cast_mut().cast(), layout) };
}

fn defer(object: *mut AtomicU64, layout: Layout) {
    // SAFETY: null, or taken out of its slot, and not given back yet.
    unsafe {
        if let Some(state) = object.as_ref() {
            expect(state.swap(DEFERRED, AcqRel) == IN_USE);
        }
        deferred_free(object.cast(), layout);
    }
}

/// What everybody does.
fn work(turn: u64) {
    let slot = turn as usize % SLOTS;
    let layout = LAYOUTS[slot % LAYOUTS.len()];
    let guard = read();
    // SAFETY: null, or an object that is not given back while the guard lives.
    let seen = unsafe { PUBLISHED[slot].load(Acquire).as_ref() };
    let is_kept = || expect(seen.is_none_or(|state| matches!(state.load(Relaxed), IN_USE | DEFERRED)));
    is_kept();
    if turn.is_multiple_of(2) {
        if let Some(new) = alloc(layout) {
            defer(PUBLISHED[slot].swap(ptr::from_ref(new).cast_mut(), AcqRel), layout);
        }
    } else {
        let some = [(); 8].map(|()| alloc(layout));
        some.into_iter().flatten().for_each(|object| free(object, layout));
    }
    is_kept();
    drop(guard);
}

extern "C" fn on_signal(_: i32) {
    // SAFETY: always valid for the calling thread.
    let errno = unsafe { *libc::__errno_location() };
    {
        let _section = atomic_section();
        work(TURN.fetch_add(1, Relaxed).wrapping_mul(7));
        HANDLED.fetch_add(1, Relaxed);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// A timer that signals the thread which makes it. Four times as often, or under an emulator, threads would do nothing but
/// take signals.
fn start_timer() -> libc::timer_t {
    let emulated = std::env::var_os("TEST_RUNNER").is_some();
    let period = libc::timespec { tv_sec: 0, tv_nsec: if emulated { 2_000_000 } else { 50_000 } };
    let times = libc::itimerspec { it_interval: period, it_value: period };
    // SAFETY: the structures are ours, and may be all zero.
    unsafe {
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = libc::SIGUSR2;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer = ptr::null_mut();
        assert_eq!(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer), 0);
        assert_eq!(libc::timer_settime(timer, 0, &times, ptr::null_mut()), 0);
        timer
    }
}

/// A thread that works until it is stopped.
fn be_interrupted(number: usize) -> u64 {
    // SAFETY: no arguments.
    THREAD_IDS[number].store(unsafe { libc::gettid() }, Relaxed);
    let timer = start_timer();
    let mut turns = 0u64;
    while !STOP.load(Relaxed) {
        work(turns.wrapping_mul(5) + number as u64);
        turns += 1;
    }
    // SAFETY: made above.
    unsafe { libc::timer_delete(timer) };
    turns
}

/// Signals the threads, besides their timers, until as many have been taken.
fn send_until(taken: u64) -> u64 {
    let (begin, mut sent) = (Instant::now(), 0);
    while HANDLED.load(Relaxed) < taken && begin.elapsed() < LIMIT {
        for id in THREAD_IDS.iter().map(|id| id.load(Relaxed)).filter(|&id| id != 0) {
            // SAFETY: the threads live for as long as this is called.
            (0..100).for_each(|_| unsafe { _ = libc::syscall(libc::SYS_tgkill, libc::getpid(), id, libc::SIGUSR2) });
            sent += 100;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    sent
}

fn in_use() -> [u64; LAYOUTS.len()] {
    let stats = stats();
    LAYOUTS.map(|layout| stats.classes.iter().find(|class| class.bytes >= layout.size()).map_or(0, |class| class.live))
}

fn storm() {
    // SAFETY: the handler has the right signature and does only what handlers may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(i32) as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, ptr::null_mut()), 0);
    }
    let taken = std::env::var("SIGNALS").map_or(SIGNALS, |text| text.parse().unwrap());
    barrier(); // what is made once, crossbeam's collector too, is in use from here on
    let before = in_use();
    let (turns, sent) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|number| scope.spawn(move || be_interrupted(number))).collect();
        let sent = send_until(taken);
        STOP.store(true, Relaxed);
        (threads.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>(), sent)
    });
    for (slot, object) in PUBLISHED.iter().enumerate() {
        defer(object.swap(ptr::null_mut(), AcqRel), LAYOUTS[slot % LAYOUTS.len()]);
    }
    barrier();
    gracealloc::trim(); // applies what is left of free marks: frees that met a slot in use
    let (stats, handled, wrong) = (stats(), HANDLED.load(Relaxed), WRONG.load(Relaxed));
    println!(
        "signals: rseq {}, {sent} sent, {handled} taken, {turns} turns between them, {wrong} wrong, {} grace periods, {} marks, \
         {} nulls",
        stats.rseq,
        stats.grace_periods,
        stats.deferred_marks,
        NULLS.load(Relaxed),
    );
    assert!(handled >= taken, "{handled} signals in {LIMIT:?}");
    assert_eq!((wrong, stats.deferred_objects), (0, 0));
    assert_eq!(in_use(), before, "objects were lost, or are in use twice");
}

#[test]
#[ignore = "a child of the other tests, which start it with a task"]
fn child() {
    match common::task().as_deref() {
        Some("storm") => storm(),
        task => panic!("no task {task:?}"),
    }
}

fn survives(variables: &[(&str, &str)]) {
    assert!(common::child("storm").envs(variables.iter().copied()).status().unwrap().success());
}

#[test]
fn nothing_is_lost_in_a_storm_of_signals() {
    survives(&[]);
}

#[test]
fn nothing_is_lost_in_a_storm_of_signals_with_try_locks() {
    survives(&[("GLIBC_TUNABLES", "glibc.pthread.rseq=0")]);
}
