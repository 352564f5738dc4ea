//! The child that measures jemalloc 5.

#[global_allocator]
static GLOBAL: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    alloc_bench::child::main(&[], &GLOBAL)
}
