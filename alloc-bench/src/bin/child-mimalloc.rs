//! The child that measures mimalloc 3.

use std::ffi::c_void;

use alloc_bench::c_calls::CCalls;

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

unsafe extern "C" {
    fn mi_malloc(size: usize) -> *mut c_void;
    fn mi_free(ptr: *mut c_void);
    fn mi_free_size(ptr: *mut c_void, size: usize);
    fn mi_realloc(ptr: *mut c_void, size: usize) -> *mut c_void;
}

const C: CCalls = CCalls { malloc: mi_malloc, free: mi_free, free_sized: mi_free_size, realloc: mi_realloc };

fn main() -> std::process::ExitCode {
    alloc_bench::child::main_with_c(&[], &GLOBAL, C)
}
