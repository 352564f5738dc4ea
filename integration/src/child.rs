//! Forked children that live a life of their own and say by their exit code how it went.

use std::io;
use std::panic::{self, AssertUnwindSafe};

use crate::{fatal, os, require};

/// A child of this process.
#[derive(Debug)]
#[must_use = "join it"]
pub struct Child(libc::pid_t);

impl Child {
    /// Forks; the child lives `life`, whose result is its exit code, and ends without exit handlers.
    pub fn fork(life: impl FnOnce() -> i32) -> Self {
        // SAFETY: the child of a program with threads may use what its locks are not needed for; that gracealloc is among
        // that is what is proved.
        match unsafe { libc::fork() } {
            0 => {
                let code = panic::catch_unwind(AssertUnwindSafe(life)).unwrap_or_else(|_| fatal!("a child panicked"));
                // SAFETY: ends the process.
                unsafe { libc::_exit(code) }
            }
            pid => {
                require!(pid > 0, "fork: {}", io::Error::last_os_error());
                Self(pid)
            }
        }
    }

    /// Waits for its end and returns its exit code; a signal is fatal here as well.
    pub fn join(self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is valid for writes.
        while os::check(unsafe { libc::waitpid(self.0, &raw mut status, 0) }).is_err() {}
        require!(libc::WIFEXITED(status), "a child was killed by signal {}", libc::WTERMSIG(status));
        libc::WEXITSTATUS(status)
    }
}
