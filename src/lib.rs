//! A global allocator with per-CPU slab caches, and a free that waits for readers at the price of a free.
//!
//! ```
//! #[global_allocator]
//! static GLOBAL: gracealloc::GraceAlloc = gracealloc::GraceAlloc;
//! ```
//!
//! Allocation and deallocation are one restartable sequence each on this CPU's cache: no lock, no atomic
//! read-modify-write, caches bounded by the number of CPUs and not of threads. Where restartable sequences are not to be
//! had (older glibc, musl, other systems) the same caches stand behind try-locks.
//!
//! [`deferred_free`] gives a block back once every reader has left that was active at the call; readers hold a guard of
//! [`read`] or of crossbeam-epoch's default collector. It never fails, and blocks only where the budget for what waits is spent and the
//! caller may block. [`synchronize`] waits for readers, [`barrier`] for what was deferred. [`Rcu`] is the safe face of it: a
//! value that is read while it is replaced. [`Retire`] (unsafe) stands in for crossbeam-epoch's `defer_destroy`.
//!
//! In an [`atomic_section`], which a signal handler opens first, neither blocks nor makes a system call: allocation is
//! served from the caches and from pre-faulted memory and returns null when those are empty; deallocation cannot fail. A
//! [`Reservation`] holds objects that were set aside beforehand.
//!
//! The modules, each importing only what stands beneath it, from the bottom:
//! `platform`, `tagged_stack`, `arena`, `tunables`, `context`, `slow_path`, `size_class`, `slab`, `cache`, `grace`, `deferred`,
//! and the public face: `config`, `global`, `reservation`, `read`, `section`, `grace_period`, `defer`, `unsized_calls`, `rcu`, `epoch`,
//! `stats`, `allocator_api2`.

// Loom models the slots of the fallback and the tagged stack; what else those files have is not used there.
#![cfg_attr(loom, allow(dead_code, unused_imports))]

#[cfg(all(feature = "allocator-api2", not(loom)))]
mod allocator_api2;
#[cfg(not(loom))]
mod arena;
#[cfg(not(loom))]
mod cache;
#[cfg(not(loom))]
mod config;
#[cfg(not(loom))]
mod context;
#[cfg(not(loom))]
mod defer;
#[cfg(not(loom))]
mod deferred;
#[cfg(not(loom))]
mod epoch;
#[cfg(not(loom))]
mod global;
#[cfg(not(loom))]
mod grace;
#[cfg(not(loom))]
mod grace_period;
mod platform;
#[cfg(not(loom))]
mod rcu;
#[cfg(not(loom))]
mod read;
#[cfg(not(loom))]
mod reservation;
#[cfg(not(loom))]
mod section;
#[cfg(loom)]
#[path = "grace/sequence.rs"]
mod sequence;
#[cfg(not(loom))]
mod size_class;
#[cfg(not(loom))]
mod slab;
#[cfg(not(loom))]
mod slow_path;
#[cfg(not(loom))]
mod stats;
mod tagged_stack;
#[cfg(not(loom))]
mod tunables;
#[cfg(not(loom))]
mod unsized_calls;

#[cfg(not(loom))]
pub use config::{Config, ConfigError, configure};
#[cfg(not(loom))]
pub use context::{AtomicSection, Context, context};
#[cfg(not(loom))]
pub use defer::{Full, barrier, defer_drop, deferred_free, deferred_free_bulk, drive, try_defer_drop};
#[cfg(not(loom))]
pub use epoch::Retire;
#[cfg(not(loom))]
pub use global::{GraceAlloc, is_global, trim, usable_size};
#[cfg(not(loom))]
pub use grace_period::{GraceCookie, Stalled, synchronize, synchronize_expedited, synchronize_timeout};
#[cfg(not(loom))]
pub use rcu::{Guard, Rcu};
#[cfg(not(loom))]
pub use read::{OwnedReadGuard, ReadGuard, read, read_owned};
#[cfg(not(loom))]
pub use reservation::{Reservation, ReserveError};
#[cfg(not(loom))]
pub use section::atomic_section;
#[cfg(not(loom))]
pub use stats::{ClassStats, Stats, stats};
#[cfg(not(loom))]
pub use unsized_calls::{deferred_free_unsized, fatal, is_reading, leave_atomic_section};

// Tags beside numbers in one word, the address map: none of it is made for 32 bits.
const _: () = assert!(usize::BITS == 64);
