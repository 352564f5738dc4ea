//! Handlers around `fork`, so that the child does not inherit a lock whose holder it has not got.

/// Registers the three handlers; false where there is no fork or no memory for the registration. Takes libc's lock:
/// only for callers that may block.
#[cfg(all(unix, not(miri)))]
pub(crate) fn register(prepare: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> bool {
    // SAFETY: the handlers live in this object, which is pinned before this is called.
    unsafe { libc::pthread_atfork(Some(prepare), Some(parent), Some(child)) == 0 }
}

/// There is no fork here.
#[cfg(not(all(unix, not(miri))))]
pub(crate) fn register(_prepare: extern "C" fn(), _parent: extern "C" fn(), _child: extern "C" fn()) -> bool {
    false
}
