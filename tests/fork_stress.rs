//! A fork in the middle of readers: what the child has left of them, what it waits for, and what it forks in turn. In a
//! process of its own, with restartable sequences and without.
//!
//! ```text
//!   parent   thread: read()    thread: read_owned(), passed on    threads: readers that come and go, deferrals, a worker
//!            forker: read() twice, an owned guard, a cookie of its own
//!     child    the forker's two guards hold grace periods up, till both are dropped; nobody else's do
//!       grandchild   the same again, of the child
//! ```

#![cfg(all(target_os = "linux", not(miri)))]

mod common;

use gracealloc::*;
use std::alloc::{GlobalAlloc, Layout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

/// Children of one process; `FORKS` in the environment for more. Each forks once more.
const FORKS: u32 = 100;
const SHORT: Duration = Duration::from_millis(4);
const LONG: Duration = Duration::from_secs(10);

/// How a child's life went wrong.
#[derive(Clone, Copy, Debug)]
#[repr(i32)]
enum Wrong {
    Passed = 1,
    NotOurs = 2,
    Elapsed = 3,
    Held = 4,
    Lost = 5,
    Grandchild = 6,
    Crossbeam = 7,
    Panic = 8,
}

type Life = Result<(), Wrong>;

fn expect(right: bool, wrong: Wrong) -> Life {
    if right { Ok(()) } else { Err(wrong) }
}

/// Runs `life` in a child and returns how it ended, as the kernel says it.
fn fork(life: impl FnOnce() -> Life) -> i32 {
    // SAFETY: the child uses this allocator and ends.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::alarm(20);
            let ended = catch_unwind(AssertUnwindSafe(life)).unwrap_or(Err(Wrong::Panic));
            libc::_exit(ended.map_or_else(|wrong| wrong as i32, |()| 0));
        }
        assert!(pid > 0, "{}", std::io::Error::last_os_error());
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
        status
    }
}

fn defer_some(n: usize) {
    let layout = Layout::new::<[u64; 16]>();
    // SAFETY: the layout has a size, and nobody else has seen the blocks.
    (0..n).for_each(|_| unsafe { deferred_free(GraceAlloc.alloc(layout), layout) });
}

static DROPPED: AtomicU32 = AtomicU32::new(0);

struct Counts;

impl Drop for Counts {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Relaxed);
    }
}

fn drop_later() {
    // SAFETY: from a box, and nobody else has seen it.
    unsafe { defer_drop(Box::into_raw(Box::new(Counts))) };
}

/// What another thread says of grace periods: this one may be a reader, who must not ask.
fn elsewhere<T: Send>(ask: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(ask).join().unwrap())
}

/// The forker: a reader, twice, with an owned guard, something deferred, and a grace period asked for since.
fn fork_as_a_reader(generations: u32) -> i32 {
    let outer = read();
    let owned = read_owned();
    let inner = read();
    defer_some(50);
    let cookie = GraceCookie::start();
    assert!(elsewhere(|| synchronize_timeout(SHORT)).is_err()); // from here on a grace period waits for this thread
    fork(|| live(outer, inner, owned, cookie, generations)) // and the parent drops them
}

/// A child's life, beginning as a reader.
fn live(outer: ReadGuard, inner: ReadGuard, owned: OwnedReadGuard, cookie: GraceCookie, generations: u32) -> Life {
    drop(owned); // of before: nothing
    let stalls = |cookie: &GraceCookie| -> Life {
        let stalled = elsewhere(|| synchronize_timeout(SHORT)).err();
        expect(stalled.is_some(), Wrong::Passed)?;
        expect(stalled.is_some_and(|stalled| stalled.domain == "gracealloc"), Wrong::NotOurs)?;
        expect(!elsewhere(|| cookie.is_elapsed()), Wrong::Elapsed)
    };
    stalls(&cookie)?;
    drop(outer);
    drop(read());
    stalls(&cookie)?;
    defer_some(300);
    drop(inner);
    expect(synchronize_timeout(LONG).is_ok() && cookie.is_elapsed(), Wrong::Held)?;
    go_on()?;
    if generations > 0 {
        expect(fork_as_a_reader(generations - 1) == 0, Wrong::Grandchild)?;
    }
    go_on()
}

/// Reads, defers, and waits for all of it.
fn go_on() -> Life {
    let before = DROPPED.load(Relaxed);
    drop((read(), read_owned()));
    drop_later();
    defer_some(100);
    synchronize();
    barrier();
    expect(stats().deferred_objects == 0 && DROPPED.load(Relaxed) == before + 1, Wrong::Lost)
}

static STOP: AtomicBool = AtomicBool::new(false);

/// A thread that runs until it is told to stop.
fn keep(mut work: impl FnMut() + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        while !STOP.load(Relaxed) {
            work();
        }
    })
}

/// Readers that come and go, some for long, owned guards on their way from thread to thread, and deferrals.
fn bystanders() -> Vec<thread::JoinHandle<()>> {
    let (give, take) = mpsc::sync_channel(4);
    vec![
        keep(|| {
            (0..1000).for_each(|_| drop(read()));
            thread::yield_now();
        }),
        keep(|| {
            let _guard = read();
            thread::sleep(Duration::from_millis(1));
        }),
        keep(move || {
            let _ = give.try_send(read_owned());
            thread::yield_now();
        }),
        keep(move || {
            let _ = take.recv_timeout(Duration::from_millis(1));
        }),
        keep(|| {
            defer_some(200);
            thread::yield_now();
        }),
    ]
}

fn children_go_on() {
    let forks = std::env::var("FORKS").map_or(FORKS, |text| text.parse().unwrap());
    let bystanders = bystanders();
    let wrong = (0..forks).map(|_| fork_as_a_reader(1)).find(|&status| status != 0);
    STOP.store(true, Relaxed);
    bystanders.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(wrong, None, "how a child ended");
    println!("fork_stress: {forks} children, as many of theirs, rseq {}", stats().rseq);
    barrier();
}

/// Of crossbeam's readers nobody knows which thread they were: one that vanished is waited for, and the child is told.
fn a_vanished_guard_of_crossbeam_stalls_the_child() {
    for _ in 0..5 {
        let (inside, is_inside) = mpsc::channel();
        let (leave, left) = mpsc::channel::<()>();
        let reader = thread::spawn(move || {
            let _guard = crossbeam_epoch::pin();
            inside.send(()).unwrap();
            let _ = left.recv();
        });
        is_inside.recv().unwrap();
        let status = fork(|| {
            let stalled = synchronize_timeout(Duration::from_millis(50)).err();
            expect(stalled.is_some_and(|stalled| stalled.domain == "crossbeam-epoch"), Wrong::Crossbeam)?;
            drop(read());
            defer_some(300);
            Ok(())
        });
        assert_eq!(status, 0);
        drop(leave);
        reader.join().unwrap();
        assert!(synchronize_timeout(LONG).is_ok());
    }
}

#[test]
#[ignore = "a child of the other tests, which start it with a task"]
fn child() {
    match common::task().as_deref() {
        Some("readers") => children_go_on(),
        Some("crossbeam") => a_vanished_guard_of_crossbeam_stalls_the_child(),
        task => panic!("no task {task:?}"),
    }
}

fn passes(task: &str, fallback: bool) {
    let tunables = if fallback { "glibc.pthread.rseq=0" } else { "" };
    assert!(common::child(task).env("GLIBC_TUNABLES", tunables).status().unwrap().success(), "{task}");
}

#[test]
fn forked_children_have_the_readers_of_the_thread_that_forked() {
    passes("readers", false);
}

#[test]
fn forked_children_have_the_readers_of_the_thread_that_forked_with_shared_records() {
    passes("readers", true);
}

#[test]
fn forked_children_are_told_of_a_vanished_guard() {
    passes("crossbeam", false);
}
