//! The child that measures jemalloc 5.

use std::ffi::c_void;

use alloc_bench::c_calls::CCalls;

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// `sdallocx` has flags besides.
unsafe extern "C" fn free_sized(ptr: *mut c_void, size: usize) {
    // SAFETY: by contract, a block of jemalloc's of that size.
    unsafe { tikv_jemalloc_sys::sdallocx(ptr, size, 0) }
}

const C: CCalls = CCalls {
    malloc: tikv_jemalloc_sys::malloc,
    free: tikv_jemalloc_sys::free,
    free_sized,
    realloc: tikv_jemalloc_sys::realloc,
};

fn main() -> std::process::ExitCode {
    alloc_bench::child::main_with_c(&[], &GLOBAL, C)
}
