//! The child that measures the C library's allocator.

#[global_allocator]
static GLOBAL: std::alloc::System = std::alloc::System;

fn main() -> std::process::ExitCode {
    alloc_bench::child::main_with_c(&[], &GLOBAL, alloc_bench::c_calls::SYSTEM)
}
