//! Sleeping on a word until it changes.
//!
//! Where the system has no futex the sleeper looks again every so often: correct, and only slower.

use core::sync::atomic::AtomicU32;
use core::time::Duration;

/// Sleeps unless `word` is not `expected` any more, until somebody wakes it or the limit is over; it may also wake for no
/// reason.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    let limit = limit
        .map(|limit| libc::timespec { tv_sec: limit.as_secs() as _, tv_nsec: limit.subsec_nanos() as libc::c_long });
    let limit = limit.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: the word outlives the call; the kernel only compares it, and reads the time.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, expected, limit)
    };
}

/// Wakes up to `n` of those who sleep on the word.
#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) fn wake(word: &AtomicU32, n: i32) {
    // SAFETY: the word's address is all that is used.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, n) };
}

/// The longest nap before the word is looked at again.
#[cfg(not(all(target_os = "linux", not(miri))))]
const NAP: Duration = Duration::from_millis(1);

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn wait(word: &AtomicU32, expected: u32, limit: Option<Duration>) {
    match limit {
        _ if word.load(core::sync::atomic::Ordering::Relaxed) != expected => {}
        Some(limit) => std::thread::sleep(limit.min(NAP)),
        None => std::thread::yield_now(),
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) fn wake(_word: &AtomicU32, _n: i32) {}
