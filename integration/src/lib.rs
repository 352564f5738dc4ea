//! End-to-end tests of gracealloc: real programs in separate processes.
//!
//! Every program in `src/bin` has gracealloc as its global allocator, proves one thing, prints one [`Summary`] line
//! and exits with 0; or it dies with one line that says what broke. The tests in `tests/` run each program twice, with
//! rseq and without, and judge the summary. A program that hangs is killed and fails.
//!
//! What they share, each module using only those above it:
//!
//! ```text
//! report     the summary line; `fatal!`, which allocates nothing
//! os         memory, limits and CPUs straight from the kernel
//! fixed      a vector outside of the allocator under test
//! ledger     address -> id of the live object, outside of the allocator under test
//! block      an allocation filled with a pattern of its id
//! heap       blocks and ledger together, with counts
//! child      forked children
//! deferral   blocks that are deferred, and how many are pending
//! exchange   cells in which threads and signal handlers hand blocks over
//! random     seeds that are printed, sizes skewed to small
//! raw_thread a thread on which nothing has run yet
//! timer      signals that come again and again to one thread
//! counted    things whose destructors count
//! runner     runs a program under a time limit and reads its summary
//! ```

pub mod report;

pub mod os;

pub mod fixed;
pub mod ledger;

pub mod block;
pub mod child;
pub mod deferral;

pub mod heap;

pub mod counted;
pub mod exchange;
pub mod random;
pub mod raw_thread;
pub mod runner;
pub mod timer;

pub use block::{Block, View};
pub use exchange::Exchange;
pub use fixed::Fixed;
pub use heap::Heap;
pub use ledger::Ledger;
pub use report::Summary;
