//! `errno` survives our slow paths: a program reads it after its system call, and a drop may stand between the two.

/// The value at construction, put back when dropped.
pub(crate) struct Saved {
    #[cfg(target_os = "linux")]
    value: libc::c_int,
}

impl Saved {
    pub(crate) fn new() -> Self {
        Self {
            #[cfg(target_os = "linux")]
            // SAFETY: the address of this thread's own errno.
            value: unsafe { *libc::__errno_location() },
        }
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        #[cfg(target_os = "linux")]
        // SAFETY: the address of this thread's own errno.
        unsafe {
            *libc::__errno_location() = self.value;
        }
    }
}
