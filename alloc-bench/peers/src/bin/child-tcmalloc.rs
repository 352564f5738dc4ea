//! The child that measures Google's tcmalloc.

#[global_allocator]
static GLOBAL: tcmalloc_better::TCMalloc = tcmalloc_better::TCMalloc;

fn main() -> std::process::ExitCode {
    alloc_bench::child::main(&[], &GLOBAL)
}
