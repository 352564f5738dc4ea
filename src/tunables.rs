//! The options, as the lower layers read them: plain atomics with their defaults. `config` is the only writer.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize};

/// Unused pages go back after this many milliseconds.
pub(crate) static DECAY_MS: AtomicU64 = AtomicU64::new(1000);
/// Bytes of full magazines that the depot keeps for each class and CPU group, softly.
pub(crate) static DEPOT_BYTES: AtomicUsize = AtomicUsize::new(512 << 10);
/// Bytes of pre-faulted memory kept for atomic callers.
pub(crate) static RESERVE_BYTES: AtomicUsize = AtomicUsize::new(64 << 10);
/// Empty magazines kept for atomic callers, for each cell.
pub(crate) static RESERVE_MAGAZINES: AtomicU32 = AtomicU32::new(5);
/// Cells of the fallback; 0 is one for each possible CPU.
pub(crate) static SHARDS: AtomicU32 = AtomicU32::new(0);
/// Whether restartable sequences may be chosen.
pub(crate) static WANT_RSEQ: AtomicBool = AtomicBool::new(true);
