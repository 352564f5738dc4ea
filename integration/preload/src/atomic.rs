//! Sections in which the thread must not block; in C their ends are calls and not scopes.

/// Opens a section; it nests.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gracealloc_atomic_enter() {
    core::mem::forget(gracealloc::atomic_section());
}

/// Ends the innermost section of this thread. Without one the process ends.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gracealloc_atomic_leave() {
    if !gracealloc::leave_atomic_section() {
        gracealloc::fatal("gracealloc_atomic_leave without an open section", None);
    }
}
