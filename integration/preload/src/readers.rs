//! Readers: sections in which nothing that was reachable comes back to `malloc`. In C their ends are calls and not scopes.

use gracealloc::ReadGuard;

/// What stands for an open section.
#[repr(C)]
pub(crate) struct Reader {
    number: u64,
}

/// Becomes a reader; it nests, never blocks and cannot fail.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gracealloc_read_enter() -> Reader {
    Reader { number: gracealloc::read().into_raw() }
}

/// Ends a section of this thread. Outside of any the process ends.
///
/// # Safety
/// - `reader` came from [`gracealloc_read_enter`] on this thread, and is left once.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn gracealloc_read_leave(reader: Reader) {
    if !gracealloc::is_reading() {
        gracealloc::fatal("gracealloc_read_leave without an open section", None);
    }
    // SAFETY: handed on to the caller.
    drop(unsafe { ReadGuard::from_raw(reader.number) });
}
