//! `membarrier`, the heavy side of asymmetric pairs whose light side pays nothing.
//!
//! - `PRIVATE_EXPEDITED_RSEQ`: after it returns, no thread of this process is still inside a restartable section that it had
//!   entered before, on any CPU: each was restarted, or had committed.
//! - `PRIVATE_EXPEDITED`: every thread of this process has passed a full fence between call and return, or runs nowhere and
//!   passes one before it runs again.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

// include/uapi/linux/membarrier.h
const PRIVATE_EXPEDITED: libc::c_int = 1 << 3;
const REGISTER_PRIVATE_EXPEDITED: libc::c_int = 1 << 4;
const PRIVATE_EXPEDITED_RSEQ: libc::c_int = 1 << 7;
const REGISTER_PRIVATE_EXPEDITED_RSEQ: libc::c_int = 1 << 8;

/// Set by tests that need the kernel to say no (a seccomp filter installed after start does that to real programs).
static REFUSED: AtomicBool = AtomicBool::new(false);

fn membarrier(command: libc::c_int) -> bool {
    #[cfg(test)]
    tests::note(command);
    // SAFETY: the system call takes three integers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Announces the process as a user of both; false where the kernel cannot.
pub(super) fn register() -> bool {
    membarrier(REGISTER_PRIVATE_EXPEDITED_RSEQ) && membarrier(REGISTER_PRIVATE_EXPEDITED)
}

/// A full fence on every thread. False when the kernel refuses.
pub(super) fn fence_all() -> bool {
    !REFUSED.load(Relaxed) && membarrier(PRIVATE_EXPEDITED)
}

/// Restarts every section that is under way. False when the kernel refuses: then nothing may be concluded.
pub(super) fn restart_sections() -> bool {
    !REFUSED.load(Relaxed) && membarrier(PRIVATE_EXPEDITED_RSEQ)
}

/// Makes every later call fail, or work again.
#[cfg(test)]
pub(crate) fn refuse(on: bool) {
    REFUSED.store(on, Relaxed);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;

    thread_local! {
        static CALLS: RefCell<Vec<Call>> = const { RefCell::new(Vec::new()) };
    }

    /// What was asked of the kernel.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Call {
        Fence,
        Restart,
    }

    pub(super) fn note(command: libc::c_int) {
        match command {
            PRIVATE_EXPEDITED => CALLS.with_borrow_mut(|calls| calls.push(Call::Fence)),
            PRIVATE_EXPEDITED_RSEQ => CALLS.with_borrow_mut(|calls| calls.push(Call::Restart)),
            _ => {}
        }
    }

    /// What this thread has asked for since it was asked this last.
    pub(crate) fn calls() -> Vec<Call> {
        CALLS.take()
    }
}
