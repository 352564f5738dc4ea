//! The options, as the lower layers read them: plain atomics with their defaults. `config` is the only writer.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

/// Unused pages go back after this many milliseconds.
pub(crate) static DECAY_MS: AtomicU64 = AtomicU64::new(1000);
/// Bytes that may wait for grace periods; 0: a part of the memory there is.
pub(crate) static BUDGET_BYTES: AtomicU64 = AtomicU64::new(0);
/// Bytes of full magazines that the depot keeps for each class and CPU group, softly.
pub(crate) static DEPOT_BYTES: AtomicUsize = AtomicUsize::new(512 << 10);
/// A page that is not full is sealed after this many milliseconds.
pub(crate) static DRAIN_MS: AtomicU64 = AtomicU64::new(10);
/// Callers push grace periods on at every so many pages they seal; 0: never.
pub(crate) static HELP_PAGES: AtomicU32 = AtomicU32::new(8);
/// Bytes of pre-faulted memory kept for atomic callers.
pub(crate) static RESERVE_BYTES: AtomicUsize = AtomicUsize::new(64 << 10);
/// Empty magazines kept for atomic callers, for each cell.
pub(crate) static RESERVE_MAGAZINES: AtomicU32 = AtomicU32::new(5);
/// Cells of the fallback; 0 is one for each possible CPU.
pub(crate) static SHARDS: AtomicU32 = AtomicU32::new(0);
/// A grace period that waits is reported after every so many milliseconds.
pub(crate) static STALL_REPORT_MS: AtomicU64 = AtomicU64::new(10_000);
/// A caller of `deferred_free` without a page waits for at most so many milliseconds.
pub(crate) static WAIT_LIMIT_MS: AtomicU64 = AtomicU64::new(100);
/// Whether restartable sequences may be chosen.
pub(crate) static WANT_RSEQ: AtomicBool = AtomicBool::new(true);
/// Whether there may be a worker.
pub(crate) static WORKER: AtomicBool = AtomicBool::new(true);
