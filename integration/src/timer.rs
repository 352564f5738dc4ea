//! Signals that come again and again to one thread.

use std::{mem, ptr};

use crate::{fatal, os};

/// Installs a handler, which uses only what is async-signal-safe and wraps its work in [`keep_errno`].
///
/// # Panics
/// When the kernel refuses.
pub fn install(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: an all-zero `sigaction` is valid: no flags, an empty mask.
    let mut action: libc::sigaction = unsafe { mem::zeroed() };
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler has the type that these flags ask for.
    os::check(unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) }).expect("sigaction");
}

/// Does a handler's work so that the interrupted code does not see another `errno`.
pub fn keep_errno(work: fn()) {
    // SAFETY: always valid for the calling thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    work();
    // SAFETY: as above.
    unsafe { *errno = before };
}

/// A timer that signals the thread which made it.
#[derive(Debug)]
#[must_use = "it signals until it is stopped"]
pub struct Timer(libc::timer_t);

impl Timer {
    /// Starts one with a period in nanoseconds, below a second.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn start(signal: i32, period: i64) -> Self {
        // SAFETY: all-zero values of these C structs are valid.
        let (mut event, mut times): (libc::sigevent, libc::itimerspec) = unsafe { mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        // SAFETY: always safe to ask.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        times.it_interval.tv_nsec = period;
        times.it_value.tv_nsec = period;
        let mut timer = ptr::null_mut();
        // SAFETY: the event is valid for reads, the timer for writes.
        let made = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        os::check(made).expect("timer_create");
        // SAFETY: the timer exists, `times` is valid for reads.
        os::check(unsafe { libc::timer_settime(timer, 0, &raw const times, ptr::null_mut()) }).expect("timer_settime");
        Self(timer)
    }

    /// Ends it; a signal may still be on its way.
    pub fn stop(self) {
        // SAFETY: the timer exists, and is deleted once.
        if os::check(unsafe { libc::timer_delete(self.0) }).is_err() {
            fatal!("timer_delete");
        }
    }
}
