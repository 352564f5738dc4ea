//! Pair: one object allocated and freed at once, over and over. The shortest way through an allocator.

use std::alloc::Layout;
use std::hint::black_box;

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::heap;
use crate::latency::Latencies;

/// 64 bytes.
pub const SPEC: Spec = Spec {
    name: "pair-64",
    about: "allocate 64 B and free it at once",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare,
};

const SIZE: usize = 64;
const OPS: u64 = 3_000_000;

fn prepare(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    Ok(Box::new(Pair { threads: setup.threads, passes: setup.passes(OPS, 1), seed: setup.seed }))
}

struct Pair {
    threads: usize,
    passes: Passes,
    seed: u64,
}

impl Workload for Pair {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        // Through the black box the size is as unknown to the compiler as that of a Vec.
        Box::new(PairWorker { layout: black_box(heap::layout(SIZE)), seed: self.seed })
    }
}

struct PairWorker {
    layout: Layout,
    seed: u64,
}

impl Worker for PairWorker {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        let layout = self.layout;
        for word in 0..ops {
            // SAFETY: the layout is one of `heap::layout`; the object is freed once, with it.
            unsafe { heap::give_back(heap::obtain(layout, word), layout) };
        }
        self.seed.wrapping_add(ops)
    }
}
