//! A thread on which nothing has run yet: `std::thread` allocates on a new thread before the closure does.

use std::ffi::c_void;
use std::{mem, ptr};

use crate::require;

/// A thread made by `pthread_create` alone.
#[derive(Debug)]
#[must_use = "join it"]
pub struct RawThread(libc::pthread_t);

impl RawThread {
    /// Starts a thread whose first instruction is the caller's.
    pub fn start<T: Sync>(entry: extern "C" fn(*mut c_void) -> *mut c_void, argument: &'static T) -> Self {
        // SAFETY: `pthread_t` is an integer.
        let mut thread = unsafe { mem::zeroed() };
        let argument = ptr::from_ref(argument).cast_mut().cast();
        // SAFETY: `thread` is valid for writes; the entry has the right type; the argument lives for ever.
        let error = unsafe { libc::pthread_create(&raw mut thread, ptr::null(), entry, argument) };
        require!(error == 0, "pthread_create: error {error}");
        Self(thread)
    }

    /// Waits for its end.
    pub fn join(self) {
        // SAFETY: the thread exists and is joined once, since this consumes the only handle.
        let error = unsafe { libc::pthread_join(self.0, ptr::null_mut()) };
        require!(error == 0, "pthread_join: error {error}");
    }
}
