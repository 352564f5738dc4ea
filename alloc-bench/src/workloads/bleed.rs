//! Bleeding, after Larson's benchmark of a server: threads that end and start. Each replaces objects of random sizes at
//! random places, then ends and hands what is alive on to its successor, which frees it bit by bit between objects of
//! its own. An allocator with a heap per thread sees heaps without an owner, and frees from where nothing was allocated.
//!
//! ```text
//! chain 0:  thread ──slots──> thread ──slots──> thread ──> ...
//! chain 1:  thread ──slots──> thread ──slots──> thread ──> ...
//! ```
//!
//! A thread's start and end are in the figure: they are what the allocator's own start and end in a thread add to.

use std::thread;

use anyhow::Result;

use super::churn::{self, Even, Slot};
use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;

/// As many chains as there are threads.
pub const SPEC: Spec = Spec {
    name: "bleed-16-528",
    about: "random replacement in 1000 slots, 16 to 528 B, handed on to a new thread every 10,000 operations",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare,
};

/// Objects alive per chain.
const SLOTS: usize = 1000;
/// Operations of one thread.
const GENERATION: u64 = 10_000;
const OPS: u64 = 1_000_000;

fn prepare(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    let randoms = (0..setup.threads).map(|worker| setup.random(worker)).collect();
    Ok(Box::new(Bleed { passes: setup.passes(OPS, GENERATION), randoms }))
}

struct Bleed {
    passes: Passes,
    /// One for each chain.
    randoms: Vec<fastrand::Rng>,
}

impl Workload for Bleed {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.randoms.len()
    }

    fn worker(&self, index: usize) -> Box<dyn Worker + '_> {
        let mut random = self.randoms[index].clone();
        let slots = (0..SLOTS).map(|_| Slot::fill::<Even>(random.u64(..))).collect();
        Box::new(Chain { random, slots })
    }
}

/// What one thread hands on to the next.
struct Chain {
    random: fastrand::Rng,
    slots: Box<[Slot]>,
}

impl Chain {
    fn replace(&mut self) {
        let bits = self.random.u64(..);
        churn::replace::<Even>(&mut self.slots[bits as usize % SLOTS], bits);
    }
}

impl Worker for Chain {
    /// The worker's own thread only starts the chain's threads, one after the other.
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        for _ in 0..ops / GENERATION {
            thread::scope(|scope| scope.spawn(|| (0..GENERATION).for_each(|_| self.replace())).join())
                .expect("a thread of the chain panicked");
        }
        self.slots.iter().fold(0, |sum: u64, slot| sum.wrapping_add(slot.word()))
    }
}
