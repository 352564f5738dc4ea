//! Readers across a `fork`: the guards of the thread that forked go on in the child, all others are gone.

#![cfg(all(unix, not(miri)))]

use gracealloc::{GraceAlloc, GraceCookie, read, read_owned, synchronize_timeout};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const SHORT: Duration = Duration::from_millis(30);
const LONG: Duration = Duration::from_secs(10);

/// Readers of one test are waited for by all: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a child for which `check` answers true comes to its end.
fn in_a_child(check: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child uses this allocator, starts threads of its own, and ends.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::alarm(60);
            libc::_exit(i32::from(!check()));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
        status == 0
    }
}

/// How many readers hold a grace period up, asked on a thread that is none; `None`: nobody does.
fn readers_in_the_way() -> Option<u64> {
    let wait = || synchronize_timeout(SHORT).err().map(|stalled| stalled.readers.unwrap_or(u64::MAX));
    thread::spawn(wait).join().unwrap()
}

fn nobody_is_in_the_way() -> bool {
    thread::spawn(|| synchronize_timeout(LONG).is_ok()).join().unwrap()
}

#[test]
fn the_guards_of_who_forks_go_on_as_one_reader() {
    let _alone = alone();
    let (outer, inner) = (read(), read());
    let goes_on = in_a_child(move || {
        let one = readers_in_the_way() == Some(1);
        let younger = read();
        drop((outer, inner));
        let still = readers_in_the_way() == Some(1);
        drop(younger);
        let none = nobody_is_in_the_way();
        let again = read();
        let counted = readers_in_the_way() == Some(1);
        drop(again);
        one && still && none && counted && nobody_is_in_the_way()
    });
    assert!(goes_on);
    assert!(nobody_is_in_the_way(), "the parent's guards are its own");
}

#[test]
fn guards_go_on_in_the_child_of_a_child() {
    let _alone = alone();
    let guard = read();
    assert!(in_a_child(move || {
        in_a_child(move || {
            let one = readers_in_the_way() == Some(1);
            drop(guard);
            one && nobody_is_in_the_way()
        })
    }));
}

/// Also while a grace period waits for them at the moment of the fork.
#[test]
fn the_readers_of_other_threads_are_gone() {
    let _alone = alone();
    let (opened, is_open) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let reader = thread::spawn(move || {
        let guards = (read(), read_owned());
        opened.send(()).unwrap();
        let _ = released.recv();
        drop(guards);
    });
    is_open.recv().unwrap();
    assert!(in_a_child(nobody_is_in_the_way));
    let cookie = GraceCookie::start();
    assert!(readers_in_the_way().is_some(), "a grace period runs from here on");
    let own = read();
    assert!(in_a_child(move || {
        let one = readers_in_the_way() == Some(1);
        drop(own);
        one && nobody_is_in_the_way() && cookie.is_elapsed()
    }));
    drop(release);
    reader.join().unwrap();
    assert!(nobody_is_in_the_way());
}

#[test]
fn an_owned_guard_from_before_counts_nothing_out() {
    let _alone = alone();
    let guard = read_owned();
    assert!(in_a_child(move || {
        let none = nobody_is_in_the_way();
        drop(guard);
        let own = read_owned();
        let one = readers_in_the_way() == Some(1);
        drop(own);
        none && one && nobody_is_in_the_way()
    }));
    assert!(nobody_is_in_the_way());
}
