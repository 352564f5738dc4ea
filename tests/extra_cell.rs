//! Threads without a CPU number: they share one extra cell, under its locks, beside threads that use sections.
//!
//! Such a thread is one that libc did not start, or could not register. Here a thread takes back the registration that glibc
//! made for it.

#![cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]

use gracealloc::{GraceAlloc, read, read_owned, stats, synchronize, synchronize_timeout};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Barrier;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What glibc registers with (include/uapi/linux/rseq.h, sysdeps/unix/sysv/linux/rseq-internal.h).
const AREA_BYTES: u32 = 32;
const UNREGISTER: i32 = 1;
const SIGNATURE: u32 = 0x5305_3053;

const LAYOUT: Layout = Layout::new::<[usize; 8]>();

/// Takes this thread's registration back; false where that cannot be done.
fn unregister() -> bool {
    // SAFETY: looks a symbol of libc up; the thread pointer's own address stands at its start; the system call only
    // clears the id fields of this thread's area. No section is under way here.
    unsafe {
        let offset = libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()).cast::<isize>();
        if offset.is_null() {
            return false;
        }
        let thread_pointer: *mut u8;
        std::arch::asm!("mov {}, qword ptr fs:[0]", out(reg) thread_pointer);
        let area = thread_pointer.offset(*offset);
        libc::syscall(libc::SYS_rseq, area, AREA_BYTES, UNREGISTER, SIGNATURE) == 0
    }
}

/// Allocates and frees, each object with its own address in it; returns how many were wrong or null.
fn work(rounds: usize) -> usize {
    let mut wrong = 0;
    for n in 0..rounds {
        // SAFETY: the layout has a size; each object is written and read while it is ours, and freed once.
        unsafe {
            let objects: Vec<_> = (0..n % 700).map(|_| GraceAlloc.alloc(LAYOUT).cast::<usize>()).collect();
            objects.iter().filter(|p| !p.is_null()).for_each(|p| p.write(p.addr()));
            wrong += objects.iter().filter(|p| p.is_null() || p.read() != p.addr()).count();
            objects.into_iter().for_each(|p| GraceAlloc.dealloc(p.cast(), LAYOUT));
        }
    }
    wrong
}

#[test]
fn threads_without_a_cpu_number_share_the_extra_cell() {
    work(2);
    if !stats().rseq {
        return println!("skipped: no restartable sequences here");
    }
    let together = Barrier::new(4);
    let threads = |registered: bool| {
        let together = &together;
        move || {
            let ready = registered || unregister();
            together.wait();
            ready.then(|| work(3000))
        }
    };
    let results =
        thread::scope(|s| [true, true, false, false].map(|r| s.spawn(threads(r))).map(|t| t.join().expect("no panic")));
    if results.contains(&None) {
        return println!("skipped: this kernel keeps the registration");
    }
    assert_eq!(results, [Some(0); 4]);
    let class = *stats().classes.iter().find(|c| c.bytes == LAYOUT.size()).unwrap();
    assert_eq!(class.live, 0, "nothing lost: {}", stats());
}

/// They are counted on the record that is nobody's, and may leave what others have entered.
#[test]
fn readers_without_a_cpu_number_are_waited_for() {
    work(2);
    synchronize(); // what the other test began
    let guard = read_owned();
    let (opened, is_open) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let reader = thread::spawn(move || {
        let reader = unregister().then(read);
        drop(guard);
        opened.send(reader.is_some()).unwrap();
        let _ = released.recv();
    });
    if is_open.recv().unwrap() {
        assert_eq!(synchronize_timeout(Duration::from_millis(30)).unwrap_err().readers, Some(1));
    }
    drop(release);
    reader.join().unwrap();
    assert!(synchronize_timeout(Duration::from_secs(60)).is_ok());
}
