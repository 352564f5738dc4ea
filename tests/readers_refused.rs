//! A kernel that refuses membarriers from some moment on, as a seccomp filter makes it: readers still work, and no grace
//! period ends that would have needed one. Each in a process of its own.

#![cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]

use gracealloc::{GraceAlloc, defer_drop, read, stats, synchronize, synchronize_timeout};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const SHORT: Duration = Duration::from_millis(30);

/// From here on membarrier fails on this thread and on those that it starts; false where no filter can be had.
fn refuse_membarriers() -> bool {
    let statement = |code, k| libc::sock_filter { code, jt: 0, jf: 0, k };
    let mut program = [
        statement(0x20, 0), // load the number of the system call
        libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: libc::SYS_membarrier as u32 },
        statement(0x06, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(0x06, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the program and its length belong together, and the kernel copies it.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) == 0
            && libc::syscall(libc::SYS_membarrier, 0, 0, 0) == -1
    }
}

/// Whether a child in which membarriers are refused answers true.
fn in_a_child(check: fn() -> bool) -> bool {
    // SAFETY: the child uses this allocator, starts threads of its own, and ends.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::alarm(60);
            libc::_exit(i32::from(refuse_membarriers() && !check()));
        }
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
        status == 0
    }
}

/// What holds a grace period up, asked on another thread: the domain, and how many of its readers.
fn in_the_way() -> Option<(&'static str, Option<u64>)> {
    let wait = || synchronize_timeout(SHORT).err().map(|stalled| (stalled.domain, stalled.readers));
    thread::spawn(wait).join().unwrap()
}

/// The records of CPUs stay closed: readers share one, and need no membarriers.
fn before_the_first_reader() -> bool {
    let guard = read();
    let waited_for = in_the_way() == Some(("gracealloc", Some(1)));
    drop(guard);
    (0..1000).for_each(|_| drop(read()));
    synchronize();
    waited_for
}

static DROPPED: AtomicBool = AtomicBool::new(false);

struct Notes;

impl Drop for Notes {
    fn drop(&mut self) {
        DROPPED.store(true, Relaxed);
    }
}

/// Nothing can be known of readers that make no fences: what is deferred stays.
fn after_the_first_reader() -> bool {
    // SAFETY: from a box, and nobody else has seen it.
    unsafe { defer_drop(Box::into_raw(Box::new(Notes))) };
    drop(read());
    in_the_way().is_some_and(|(domain, _)| domain == "gracealloc") && !DROPPED.load(Relaxed)
}

#[test]
fn no_grace_period_ends_without_its_membarriers() {
    drop(Box::new([0u8; 100])); // from here on there are slots
    assert!(in_a_child(before_the_first_reader));
    drop(read());
    synchronize();
    if stats().rseq {
        assert!(in_a_child(after_the_first_reader));
    }
    synchronize();
}
