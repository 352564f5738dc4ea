//! The explorer: every interleaving of the rseq protocol, for small cases.
//!
//! The slots are a few instructions of assembly whose correctness rests on what the kernel does *between* them: a
//! section that is preempted, migrated or interrupted starts again. Loom cannot restart an instruction sequence, and
//! a stress test meets the bad moment once in a billion. So the sections are written here a second time, as lists of
//! steps, and run on virtual CPUs under a scheduler that tries everything.
//!
//! ```text
//!   slots.rs  remote.rs   alloc and free, remote take: routines, and cases with their mutants in */tests.rs
//!   sections.rs           pop, push, replace as step lists
//!   cells.rs  ledger.rs   magazines, slots, depot: the memory; what must hold of it at every state
//!   ------------------    above: the model of slots, below: of counted readers
//!   readers.rs            enter and leave, and cases with their mutants
//!   driver.rs             the grace period that waits for them; the writer; opening records
//!   counts.rs             records and store buffers: the memory; what must hold of it
//!   ------------------    below: the model of deferred freeing
//!   stamping.rs           cases with readers: nothing is free while one has it
//!   barrier.rs            barrier, and cases in which it would leave something behind
//!   defer.rs  drain.rs    from an object to a queued page: by its CPU, by others; the cookie
//!   poll.rs  transit.rs   from a queued page to a free one; the count of pages in hand
//!   grace.rs              the sequence, grace periods, readers, store buffers
//!   pages.rs  books.rs    the memory; what must hold of it at every state
//!   ------------------    above: models, below: for any model
//!   case.rs               a start state and its threads; the seeded bugs
//!   search.rs             breadth first over all moves; the shortest trace of a breach
//!   world.rs  thread.rs   virtual CPUs: step, preempt, resume, migrate, signal, membarrier
//!   engine.rs             the words that a model is written in
//! ```
//!
//! - A **step** is one access to shared memory, and the scheduler may do anything between two of them.
//! - A **case** is a start state with bounds. Loops close in the set of states seen, so most cases bound nothing but
//!   signals: any number of preemptions and migrations is covered.
//! - A **mutant** is the same case with one seeded bug. Each must be found, or a clean run proves nothing.
//!
//! Memory is sequentially consistent here, but for the stores that unlink objects, and for what readers count and load on their
//! CPU (`counts.rs`): other orderings are argued in the code they belong to. What the protocol must survive even so is modelled: a section on another CPU that loaded a magazine before
//! a remote take and commits after.
//!
//! Not modelled: other stores in store buffers; the spare slots (a spare is a slot, and taking from it is a replace); the
//! extra cell and the fallback's locks; a handler interrupted by another; refill from spans, so a thread without a
//! magazine gives up; what becomes of deferred pages that were given back.
//!
//! To add a model: one file, a type for its memory and its registers that implements `engine::Model`, routines as
//! step lists, tests that call `search::explore`. The traces and figures: `cargo test --test explorer -- --nocapture`;
//! the largest cases: `cargo test --release --test explorer -- --ignored`.

mod barrier;
mod books;
mod case;
mod cells;
mod counts;
mod defer;
mod drain;
mod driver;
mod engine;
mod grace;
mod ledger;
mod pages;
mod poll;
mod readers;
mod remote;
mod search;
mod sections;
mod slots;
mod stamping;
mod thread;
mod transit;
mod world;
