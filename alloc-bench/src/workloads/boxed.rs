//! Box: a value of 64 B boxed and dropped at once, over and over, as short-lived values in ordinary code are. The twin of
//! [`super::pair`] with a layout that the compiler knows.

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;

/// 64 bytes.
pub const SPEC: Spec = Spec {
    name: "box-64",
    about: "Box::new of 64 B, dropped at once",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare,
};

/// Of an object.
const WORDS: usize = 8;
const OPS: u64 = 3_000_000;

fn prepare(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    Ok(Box::new(Boxes { threads: setup.threads, passes: setup.passes(OPS, 1), seed: setup.seed }))
}

struct Boxes {
    threads: usize,
    passes: Passes,
    seed: u64,
}

impl Workload for Boxes {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(BoxWorker { seed: self.seed })
    }
}

struct BoxWorker {
    seed: u64,
}

impl Worker for BoxWorker {
    /// The volatile store keeps the box; see [`crate::heap`]. The other words, which nobody reads, need not be written.
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        for word in 0..ops {
            let mut object = Box::new([word; WORDS]);
            // SAFETY: the box is ours, and its first word is one.
            unsafe { object.as_mut_ptr().write_volatile(word) };
        }
        self.seed.wrapping_add(ops)
    }
}
