//! gracealloc as a C library.
//!
//! `LD_PRELOAD` of this library gives an unchanged, dynamically linked program this allocator; a C program that includes
//! `gracealloc.h` and links it has deferred frees besides. There is no policy here: every function turns what C says into what
//! the crate takes, and the crate's answer into what C expects.
//!
//! ```text
//!   plain      malloc, calloc, free, cfree           aligned    memalign and its kin
//!   resize     realloc, reallocarray                 sized      free_sized, free_aligned_sized
//!   inspect    malloc_usable_size, malloc_trim       cxx        operator delete with a size or an alignment
//!   deferral   gracealloc_deferred_free, ...         atomic     gracealloc_atomic_enter, ...
//!   readers    gracealloc_read_enter, ...
//!     block      a size and an alignment become a block, or null and ENOMEM
//! ```
//!
//! Invariants:
//! - The backing is jemalloc. The other one would be the C library's `malloc`, which is the one below.
//! - What the library itself allocates (crossbeam, the list of statistics) comes from the crate directly and not through
//!   `malloc`: no function here calls another allocator.
//! - Nothing here has to be set up: the first call may come before any constructor, the last after all destructors.
//! - A pointer that is not ours ends the process with one line. It cannot be handed on: whose it is cannot be known.

#![cfg(all(target_os = "linux", feature = "jemalloc"))]

mod aligned;
mod atomic;
mod block;
mod cxx;
mod deferral;
mod inspect;
mod plain;
mod readers;
mod resize;
mod sized;

/// For the library's own needs: without it they would go through `malloc`, which is this library's.
#[global_allocator]
static GLOBAL: gracealloc::GraceAlloc = gracealloc::GraceAlloc;
