//! The child that measures gracealloc.

#[global_allocator]
static GLOBAL: gracealloc::GraceAlloc = gracealloc::GraceAlloc;

fn main() -> std::process::ExitCode {
    alloc_bench::child::main()
}
