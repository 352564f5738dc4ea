//! The child that measures mimalloc 3.

#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    alloc_bench::child::main(&[], &GLOBAL)
}
