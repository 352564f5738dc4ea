//! The child that measures gracealloc. It alone has the scheme `deferred_free`.

mod deferred_free;

use self::deferred_free::DeferredFree;
use alloc_bench::schemes::Linked;

#[global_allocator]
static GLOBAL: gracealloc::GraceAlloc = gracealloc::GraceAlloc;

/// Schemes that only this allocator has.
static OURS: &[Linked] =
    &[Linked::with_waits::<DeferredFree>().and_expedited::<DeferredFree>().and_source_index::<DeferredFree>()];

fn main() -> std::process::ExitCode {
    alloc_bench::child::main(OURS, &GLOBAL)
}
