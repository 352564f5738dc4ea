//! The pair without the way to it: the allocator's own type is called, with a layout known at compile time, so that whatever
//! can be inlined is. For gracealloc that is a pop and a push of one slot and no more: the limit of what its pair can reach.
//!
//! The loop must be compiled where the allocator's type is known, so each child brings its own: [`Direct`].

use std::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use std::fmt::Debug;

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::heap;
use crate::latency::Latencies;

/// 64 bytes.
pub const SPEC: Spec = Spec {
    name: "direct-64",
    about: "the same on the allocator's own type, with a layout known at compile time",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare,
};

const LAYOUT: Layout = heap::layout(64);
const OPS: u64 = 3_000_000;

/// Pairs of a child's allocator.
pub trait Pairs: Debug + Sync {
    /// Allocates an object and frees it, `ops` times.
    fn run(&self, ops: u64);
}

/// Pairs of an allocator by its own type.
pub struct Direct<A: 'static>(
    /// The global allocator.
    pub &'static A,
);

impl<A> Debug for Direct<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<A>())
    }
}

impl<A: GlobalAlloc + Sync> Pairs for Direct<A> {
    fn run(&self, ops: u64) {
        for word in 0..ops {
            // SAFETY: the layout is not of size zero; the object holds a word, and is freed once.
            unsafe {
                let object = self.0.alloc(LAYOUT);
                if object.is_null() {
                    handle_alloc_error(LAYOUT);
                }
                object.cast::<u64>().write_volatile(word);
                self.0.dealloc(object, LAYOUT);
            }
        }
    }
}

fn prepare(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    Ok(Box::new(DirectPair {
        threads: setup.threads,
        passes: setup.passes(OPS, 1),
        pairs: setup.direct,
        seed: setup.seed,
    }))
}

struct DirectPair {
    threads: usize,
    passes: Passes,
    pairs: &'static dyn Pairs,
    seed: u64,
}

impl Workload for DirectPair {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(DirectWorker { pairs: self.pairs, seed: self.seed })
    }
}

struct DirectWorker {
    pairs: &'static dyn Pairs,
    seed: u64,
}

impl Worker for DirectWorker {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        self.pairs.run(ops);
        self.seed.wrapping_add(ops)
    }
}
