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

/// Has every thread do its loads before its later loads and stores; and after [`restart_sections`], makes visible what the
/// sections had stored. False when the kernel refuses.
///
/// On x86_64 nothing is left to do: loads are in order there, stores come after the loads in front of them, and a thread whose
/// sections are restarted is interrupted, with a full fence in the kernel's handler (`ipi_rseq` in kernel/sched/membarrier.c),
/// or has been scheduled out.
pub(super) fn order_all() -> bool {
    if cfg!(target_arch = "x86_64") {
        #[cfg(test)]
        tests::note(PRIVATE_EXPEDITED); // what x86_64 does by itself no test there can miss: that it is asked for is counted
        return true;
    }
    fence_all()
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
