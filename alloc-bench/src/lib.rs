//! Allocation-pressure benchmarks: the part that every measured process contains.
//!
//! A Rust program has one global allocator, chosen when it is linked, so comparing allocators means comparing
//! *programs*. This crate therefore builds one small child binary per allocator (`src/bin/child-*.rs`), all around the
//! same code:
//!
//! ```text
//! alloc-bench (the driver)      starts children in interleaved rounds, does the statistics, prints
//!   └─ child-<allocator>        one process = one measurement: prepare, warm up, measure, one line of JSON
//!        ├─ protocol            the question (an argument) and the answer (that line)
//!        ├─ workloads           what is measured, one file each
//!        ├─ schemes             ways to give back what readers may still see, one file each
//!        └─ measure             threads, the barrier, the clocks
//! ```
//!
//! Nothing dispatches between allocators while a clock runs: workloads call [`std::alloc::alloc`] or ordinary
//! collections, and the linker has decided where that goes. A process of its own also gives each measurement a fresh
//! heap and a peak memory that belongs to it alone.
//!
//! The driver's own modules are not here but beside `main.rs`, so that children stay small.

pub mod allocators;
pub mod c_calls;
pub mod child;
pub mod corpus;
pub mod heap;
pub mod latency;
pub mod measure;
pub mod process;
pub mod protocol;
pub mod schemes;
pub mod statistics;
pub mod workloads;
