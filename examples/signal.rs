//! A signal handler that reads, allocates, frees and defers, whatever it interrupts: the program does the same meanwhile.
//!
//! The handler opens an `atomic_section` first. From there on allocation may fail, which it has to bear (no `Box`, no `Vec`);
//! reading, freeing and deferring cannot.

use gracealloc::{GraceAlloc, atomic_section, deferred_free, read};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::*};
use std::{ptr, thread};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const SIGNALS: u64 = 300;
const NOTE: Layout = Layout::new::<Note>();

struct Note(u64, u64); // a number and its complement

static CURRENT: AtomicPtr<Note> = AtomicPtr::new(ptr::null_mut());
static HANDLED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// Reads the current note, and replaces it by its successor if there is memory.
fn step() {
    let guard = read();
    // SAFETY: notes that are replaced stay while the guard is open, and are retired by who replaced them. Fresh memory is as
    // large as a note, and given back once.
    unsafe {
        let number = CURRENT.load(Acquire).as_ref().map_or(0, |note| {
            assert_eq!(note.0, !note.1, "not given back yet");
            note.0
        });
        let (new, scratch) = (GraceAlloc.alloc(NOTE).cast::<Note>(), GraceAlloc.alloc(NOTE));
        if !scratch.is_null() {
            GraceAlloc.dealloc(scratch, NOTE);
        }
        if new.is_null() {
            FAILED.fetch_add(1, Relaxed);
            return;
        }
        new.write(Note(number + 1, !(number + 1)));
        let old = CURRENT.swap(new, AcqRel);
        drop(guard);
        deferred_free(old.cast(), NOTE);
    }
}

extern "C" fn on_signal(_: libc::c_int) {
    let _section = atomic_section();
    step();
    HANDLED.fetch_add(1, Relaxed);
}

fn main() {
    drop(atomic_section()); // the first one makes the reserve resident: not in the handler
    // SAFETY: the handler does what handlers may, see above.
    let this = unsafe {
        libc::signal(libc::SIGUSR1, on_signal as *const () as libc::sighandler_t);
        libc::pthread_self() as usize // somewhere a pointer, which would not be sent
    };
    // SAFETY: the thread is there: it waits for this one.
    let signal = move || unsafe { libc::pthread_kill(this as libc::pthread_t, libc::SIGUSR1) };
    let steps = thread::scope(|scope| {
        let sender =
            scope.spawn(move || (0u64..).take_while(|_| HANDLED.load(Relaxed) < SIGNALS).all(|_| signal() == 0));
        (0u64..).take_while(|_| !sender.is_finished()).map(|_| step()).count()
    });
    // SAFETY: from here on there are no signals, nor any that is still on its way.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    gracealloc::barrier();
    assert_eq!(gracealloc::stats().deferred_objects, 0, "all notes but one are back");
    println!("{HANDLED:?} signals in {steps} steps, {FAILED:?} without memory");
}

#[test]
fn runs() {
    main();
}
