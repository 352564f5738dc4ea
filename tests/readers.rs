//! Our own readers: who is waited for, and who is not. Run with restartable sequences and without.

use gracealloc::{
    Context, GraceAlloc, GraceCookie, atomic_section, context, deferred_free, read, read_owned, synchronize,
    synchronize_expedited, synchronize_timeout,
};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const SHORT: Duration = Duration::from_millis(30);

/// Readers of one test are waited for by all: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A thread that holds what `open` opens until told otherwise.
fn elsewhere<T>(open: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() {
    let (release, released) = mpsc::channel::<()>();
    let (opened, is_open) = mpsc::channel();
    let reader = thread::spawn(move || {
        let guard = open();
        opened.send(()).unwrap();
        let _ = released.recv();
        drop(guard);
    });
    is_open.recv().unwrap();
    move || {
        drop(release);
        reader.join().unwrap();
    }
}

#[test]
fn a_grace_period_waits_for_a_reader_and_says_whose() {
    let _alone = alone();
    let leave = elsewhere(read);
    let stalled = synchronize_timeout(SHORT).unwrap_err();
    assert_eq!((stalled.domain, stalled.readers), ("gracealloc", Some(1)), "{stalled}");
    assert!(stalled.to_string().contains("1 readers of gracealloc"), "{stalled}");
    leave();
    synchronize();
}

#[test]
fn nested_guards_count_and_end_in_any_order() {
    let _alone = alone();
    let leave = elsewhere(|| {
        let (outer, inner) = (read(), read());
        drop(outer);
        inner
    });
    assert_eq!(synchronize_timeout(SHORT).unwrap_err().readers, Some(1));
    leave();
    synchronize_expedited();
}

#[test]
fn a_guard_that_opens_after_the_start_is_not_waited_for() {
    let _alone = alone();
    let old = elsewhere(read);
    let cookie = GraceCookie::start();
    assert!(synchronize_timeout(SHORT).is_err()); // the grace period has started by now
    let new = elsewhere(read);
    old();
    cookie.wait();
    new();
}

#[test]
fn an_owned_guard_may_end_on_another_thread() {
    let _alone = alone();
    let guard = read_owned();
    assert_eq!(context(), Context::Preemptible, "whose it is cannot be known");
    assert_eq!(synchronize_timeout(SHORT).unwrap_err().domain, "gracealloc");
    thread::spawn(move || drop(guard)).join().unwrap();
    synchronize();
}

#[test]
fn a_reader_is_known_as_one() {
    let _alone = alone();
    let guard = read();
    assert_eq!(context(), Context::Reader);
    let section = atomic_section();
    assert_eq!(context(), Context::Atomic);
    drop((section, read()));
    assert_eq!(context(), Context::Reader);
    drop(guard);
    assert_eq!(context(), Context::Preemptible);
}

#[test]
fn who_would_wait_for_itself_panics() {
    let _alone = alone();
    let waits: [(&str, fn()); 4] = [
        ("synchronize", synchronize),
        ("synchronize_expedited", synchronize_expedited),
        ("GraceCookie::wait", || GraceCookie::start().wait()),
        ("barrier", gracealloc::barrier),
    ];
    for (name, wait) in waits {
        let panic = thread::spawn(move || {
            let _guard = read();
            wait();
        });
        let why = *panic.join().unwrap_err().downcast::<String>().unwrap();
        assert_eq!(why, format!("gracealloc::{name} by a reader would wait for itself"));
    }
    synchronize();
}

#[test]
fn what_is_deferred_stays_until_the_reader_has_left() {
    let _alone = alone();
    let layout = Layout::new::<[u64; 6]>();
    let leave = elsewhere(read);
    // SAFETY: the layout has a size, and nobody else has seen the block.
    unsafe { deferred_free(GraceAlloc.alloc(layout), layout) };
    thread::sleep(SHORT);
    assert_ne!(gracealloc::stats().deferred_objects, 0);
    leave();
    gracealloc::barrier();
    assert_eq!(gracealloc::stats().deferred_objects, 0);
}

#[test]
fn readers_that_come_and_go_on_every_cpu_do_not_hold_a_grace_period_up() {
    let _alone = alone();
    static OVER: AtomicBool = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !OVER.load(SeqCst) {
                    let outer = read();
                    drop((read(), read_owned()));
                    drop(outer);
                }
            });
        }
        (0..200).for_each(|_| synchronize());
        OVER.store(true, SeqCst);
    });
    assert!(synchronize_timeout(Duration::from_secs(60)).is_ok(), "as many have left as have entered");
}
