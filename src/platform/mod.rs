//! The machine: the only place with target cfg, assembly and system calls.
//!
//! ```text
//!   slots       what is done with them, by
//!     rseq        restartable sequences (x86_64, aarch64)      or
//!     locked      a try-lock per slot (everything else, and the extra cell)
//!   region      the cells that they stand in, and the choice between the two
//!   magazine    the page of pointers that slots hold
//!   sync        atomics, loom's under loom
//!   futex       sleeping on a word; with it `lock` for slow paths, and `event`
//!   membarrier  ends sections on other CPUs
//!   memory      mmap, madvise          cpu     how many CPUs there can be
//!   env         raw environment        clock   coarse time
//!   errno       saved and restored     fatal   one line, then abort
//!   file        what the kernel says; with it `limit`: how much memory there is
//!   load, fork, gate, pin, thread   life-cycle          weak    variables for C libraries
//! ```
//!
//! `absent` stands in for `rseq` and `membarrier` elsewhere. Every variant of a file has the same signatures, so nothing above asks what machine this is.

pub(crate) mod locked;
pub(crate) mod magazine;
pub(crate) mod sync;

#[cfg(not(any(gracealloc_rseq, loom)))]
mod absent;
#[cfg(not(loom))]
pub(crate) mod clock;
#[cfg(not(loom))]
mod cpu;
#[cfg(not(loom))]
pub(crate) mod env;
#[cfg(not(loom))]
pub(crate) mod errno;
#[cfg(not(loom))]
pub(crate) mod event;
#[cfg(not(loom))]
pub(crate) mod fatal;
#[cfg(not(loom))]
mod file;
#[cfg(not(loom))]
pub(crate) mod fork;
#[cfg(not(loom))]
mod futex;
#[cfg(not(loom))]
pub(crate) mod gate;
#[cfg(not(loom))]
pub(crate) mod limit;
#[cfg(not(loom))]
pub(crate) mod load;
#[cfg(not(loom))]
pub(crate) mod lock;
#[cfg(gracealloc_rseq)]
pub(crate) mod membarrier;
#[cfg(not(loom))]
pub(crate) mod memory;
#[cfg(not(loom))]
pub(crate) mod pin;
#[cfg(not(loom))]
mod region;
#[cfg(gracealloc_rseq)]
mod rseq;
#[cfg(not(loom))]
pub(crate) mod slots;
#[cfg(not(loom))]
pub(crate) mod thread;
#[cfg(all(feature = "jemalloc", not(any(miri, loom))))]
pub(crate) mod weak;

#[cfg(not(any(gracealloc_rseq, loom)))]
use absent::{membarrier, rseq};
pub(crate) use magazine::Magazine;
