//! The child that measures rpmalloc.

#[global_allocator]
static GLOBAL: rpmalloc::RpMalloc = rpmalloc::RpMalloc;

fn main() -> std::process::ExitCode {
    alloc_bench::child::main(&[], &GLOBAL)
}
