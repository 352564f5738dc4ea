//! The child that measures gracealloc. It alone has the scheme `deferred_free`.

mod deferred_free;

use alloc_bench::schemes::Linked;

use self::deferred_free::DeferredFree;

#[global_allocator]
static GLOBAL: gracealloc::GraceAlloc = gracealloc::GraceAlloc;

/// Schemes that only this allocator has.
static OURS: &[Linked] = &[Linked::under_epoch::<DeferredFree>()];

fn main() -> std::process::ExitCode {
    alloc_bench::child::main(OURS)
}
