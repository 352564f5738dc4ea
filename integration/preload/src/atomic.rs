//! Sections in which the thread must not block; in C their ends are calls and not scopes.

/// Opens a section; it nests.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gracealloc_atomic_enter() {
    core::mem::forget(gracealloc::atomic_section());
}

/// Ends the innermost section of this thread. Without one the process ends (but in a handler that interrupted a slow path of the
/// allocator, where that is not seen).
///
/// # Safety
/// - [`gracealloc_atomic_enter`] opened it, on this thread.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn gracealloc_atomic_leave() {
    // SAFETY: handed on to the caller; sections are opened above only, where the guard is forgotten.
    if !unsafe { gracealloc::leave_atomic_section() } {
        gracealloc::fatal("gracealloc_atomic_leave without an open section", None);
    }
}
