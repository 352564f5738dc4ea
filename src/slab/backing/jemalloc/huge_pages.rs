//! Huge pages for what jemalloc maps once an arena has grown.
//!
//! Most of what growing vectors cost beyond their copies are first touches of pages, each a fault; in a huge page 512 of
//! them are one. jemalloc's own setting (`thp:always`) asks for huge pages from the first block on, which makes 2 MiB
//! more resident in processes that need a few pages. So an arena gets hooks that are jemalloc's but for one:
//!
//! ```text
//!   arena --alloc-----> ours: jemalloc's, then the wish for huge pages if the block has LEAST bytes
//!         --the rest--> jemalloc's
//! ```
//!
//! An arena asks for 2 MiB first, then for an eighth to a quarter more each time: the first block of LEAST comes after
//! 11 MiB. Its own records come in blocks of 2 MiB. Where there are no huge pages the kernel refuses, and nothing is lost.
//! An arena that a program has given hooks keeps those.

use crate::platform::memory;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_uint, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{
    AtomicBool, AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};
use tikv_jemalloc_sys::{self as ffi, extent_hooks_t};

/// The least block that huge pages are asked for, in bytes.
const LEAST: usize = 4 << 20;

/// jemalloc's own hooks, once they are known: a table in its static memory.
static THEIRS: AtomicPtr<extent_hooks_t> = AtomicPtr::new(ptr::null_mut());

/// Ours, written once.
struct Hooks {
    ready: AtomicBool,
    table: UnsafeCell<MaybeUninit<extent_hooks_t>>,
}

// SAFETY: the table is written by the one thread that set `THEIRS`, and given away only once it is ready.
unsafe impl Sync for Hooks {}

static OURS: Hooks = Hooks { ready: AtomicBool::new(false), table: UnsafeCell::new(MaybeUninit::uninit()) };

/// Gives an arena our hooks, if it has jemalloc's.
#[cold]
pub(super) fn ask_for(arena: c_uint) {
    const NAME: &CStr = c"arena.0.extent_hooks";
    let (mut mib, mut parts) = ([0; 3], 3);
    // SAFETY: a name of three parts.
    if unsafe { ffi::mallctlnametomib(NAME.as_ptr(), mib.as_mut_ptr(), &mut parts) } != 0 {
        return;
    }
    mib[1] = arena as usize;
    let (mut hooks, mut size) = (ptr::null_mut::<extent_hooks_t>(), size_of::<*mut extent_hooks_t>());
    // SAFETY: reads one pointer, by jemalloc's manual.
    let read =
        unsafe { ffi::mallctlbymib(mib.as_ptr(), parts, (&raw mut hooks).cast(), &mut size, ptr::null_mut(), 0) };
    let Some(mut ours) = (read == 0).then(|| instead_of(hooks)).flatten() else { return };
    // SAFETY: writes one pointer, to a table that stays as it is for ever.
    unsafe { ffi::mallctlbymib(mib.as_ptr(), parts, ptr::null_mut(), ptr::null_mut(), (&raw mut ours).cast(), size) };
}

/// Our hooks, if these are jemalloc's: the first ones that are seen, at load time. None while another thread makes ours.
fn instead_of(hooks: *mut extent_hooks_t) -> Option<*mut extent_hooks_t> {
    if THEIRS.compare_exchange(ptr::null_mut(), hooks, Relaxed, Relaxed).is_ok() {
        // SAFETY: jemalloc's table is never written; ours is this thread's until it is ready.
        unsafe { (*OURS.table.get()).write(extent_hooks_t { alloc: Some(alloc), ..*hooks }) };
        OURS.ready.store(true, Release); // Release: pairs with the Acquire below
    }
    let ready = OURS.ready.load(Acquire) && THEIRS.load(Relaxed) == hooks;
    ready.then(|| OURS.table.get().cast())
}

/// jemalloc's way to get a block, then the wish for huge pages.
///
/// # Safety
/// - As jemalloc says of `extent_alloc_t`; called through our table.
unsafe extern "C" fn alloc(
    hooks: *mut extent_hooks_t,
    at: *mut c_void,
    bytes: usize,
    align: usize,
    zero: *mut bool,
    commit: *mut bool,
    arena: c_uint,
) -> *mut c_void {
    // SAFETY: set before our table was ready.
    let Some(theirs) = (unsafe { (*THEIRS.load(Relaxed)).alloc }) else { return ptr::null_mut() };
    // SAFETY: handed on to the caller.
    let block = unsafe { theirs(hooks, at, bytes, align, zero, commit, arena) };
    if !block.is_null() && bytes >= LEAST {
        // SAFETY: whole pages, just mapped by jemalloc: private and anonymous.
        unsafe { memory::prefer_huge_pages(block.cast(), bytes) };
    }
    block
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::super::super::{alloc, dealloc};
    use super::*;
    use core::alloc::Layout;

    #[test]
    fn long_blocks_ask_for_huge_pages_and_the_first_ones_do_not() {
        let wants = |bytes| {
            let layout = Layout::from_size_align(bytes, 1).unwrap();
            let ptr = alloc(layout, false);
            assert!(!ptr.is_null());
            let wants = memory::wants_huge_pages(ptr.addr());
            // SAFETY: just allocated with this layout.
            unsafe { dealloc(ptr, layout) };
            wants
        };
        assert!(matches!(wants(64 << 10), None | Some(false)));
        assert!(matches!(wants(6 << 20), None | Some(true)));
    }
}
