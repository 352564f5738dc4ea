//! Batch: many objects allocated in a row, then freed in the same order, as a collection is built and dropped. More of
//! them are alive than an allocator's caches hold, so what is measured is how objects move between its layers.

use std::alloc::Layout;
use std::hint::black_box;
use std::ptr::NonNull;

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::heap;
use crate::latency::Latencies;

/// Batches of a thousand.
pub const SHORT: Spec = Spec {
    name: "batch-1000",
    about: "1000 allocations of 64 B, then 1000 frees",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare(setup, 1_000, 2_000_000),
};

/// Batches of a hundred thousand.
pub const LONG: Spec = Spec {
    name: "batch-100000",
    about: "100,000 allocations of 64 B, then 100,000 frees",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare(setup, 100_000, 1_000_000),
};

const SIZE: usize = 64;

fn prepare(setup: &Setup<'_>, length: u64, ops: u64) -> Result<Box<dyn Workload>> {
    Ok(Box::new(Batch { threads: setup.threads, passes: setup.passes(ops, length), length, seed: setup.seed }))
}

struct Batch {
    threads: usize,
    passes: Passes,
    length: u64,
    seed: u64,
}

impl Workload for Batch {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        let objects = vec![NonNull::dangling(); self.length as usize].into_boxed_slice();
        Box::new(BatchWorker { layout: black_box(heap::layout(SIZE)), objects, seed: self.seed })
    }
}

struct BatchWorker {
    layout: Layout,
    /// Those of the batch in hand; dangling between batches.
    objects: Box<[NonNull<u64>]>,
    seed: u64,
}

impl BatchWorker {
    fn batch(&mut self) {
        for (word, object) in self.objects.iter_mut().enumerate() {
            // SAFETY: the layout is one of `heap::layout`.
            *object = unsafe { heap::obtain(self.layout, word as u64) };
        }
        for &object in &self.objects {
            // SAFETY: every object was allocated in the loop above, and is freed once.
            unsafe { heap::give_back(object, self.layout) };
        }
    }
}

impl Worker for BatchWorker {
    /// Each batch is timed: two looks at the clock per thousand operations.
    fn run(&mut self, ops: u64, latencies: &mut Latencies) -> u64 {
        for _ in 0..ops / self.objects.len() as u64 {
            latencies.time(|| self.batch());
        }
        self.seed.wrapping_add(ops)
    }
}
