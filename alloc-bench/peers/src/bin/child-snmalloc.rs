//! The child that measures snmalloc.

#[global_allocator]
static GLOBAL: snmalloc_rs::SnMalloc = snmalloc_rs::SnMalloc;

fn main() -> std::process::ExitCode {
    alloc_bench::child::main(&[], &GLOBAL)
}
