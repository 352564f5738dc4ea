//! Frees that wait for readers, and waiting for them.

use core::ffi::c_void;
use gracealloc::Context;

/// [`free`](crate::plain::free) once every reader has left that was active at the call; null is permitted.
///
/// # Safety
/// - As for `gracealloc::deferred_free`: a block of this allocator that is unlinked, and not given back elsewhere.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn gracealloc_deferred_free(ptr: *mut c_void) {
    // SAFETY: handed on to the caller.
    unsafe { gracealloc::deferred_free_unsized(ptr.cast()) }
}

/// Waits until every reader has left that is active now.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gracealloc_synchronize() {
    expect_preemptible("gracealloc_synchronize by a reader or in an atomic section");
    gracealloc::synchronize();
}

/// Waits until everything that was deferred before has been given back.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gracealloc_barrier() {
    expect_preemptible("gracealloc_barrier by a reader or in an atomic section");
    gracealloc::barrier();
}

/// Who would wait for himself gets one line instead of a panic, which C cannot catch.
fn expect_preemptible(complaint: &str) {
    if gracealloc::context() != Context::Preemptible {
        gracealloc::fatal(complaint, None);
    }
}
