//! Idle threads: two thousand, each of which has allocated and freed one object of every size class, and then waits, as
//! the threads of a large server do most of the time. What is measured is the memory that this adds: caches bounded by
//! threads keep two thousand times what one thread has touched, caches bounded by processors do not.
//!
//! ```text
//! threads  ─┬──────────────────┬─ touch ─┬─────────────────┬─ end
//! main      alive  (resident)  go        idle  (resident)  over
//! ```
//!
//! Threads, and their stacks, are there before the first look: the difference is the allocator's alone. With some
//! allocators that is gigabytes.

use std::alloc::Layout;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;
use crate::{heap, process};

/// The number of threads is that of the name, at scale 1.
pub const SPEC: Spec = Spec {
    name: "idle-threads-2000",
    about: "resident memory that 2000 threads keep after one object of each size class from 16 B to 32 KiB",
    by_default: false,
    measures: Measures::Memory,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| Ok(Box::new(IdleThreads::new(setup))),
};

const THREADS: f64 = 2000.0;
/// Enough for a few calls.
const STACK: usize = 64 << 10;
/// Eight for each doubling, which is as many classes as an allocator has, and their largest.
const STEPS: usize = 8;
const LARGEST: usize = 32 << 10;

struct IdleThreads {
    threads: usize,
    seed: u64,
    left: AtomicU64,
}

impl IdleThreads {
    fn new(setup: &Setup<'_>) -> Self {
        let threads = ((THREADS * setup.scale.min(1.0)) as usize).max(2);
        Self { threads, seed: setup.seed, left: AtomicU64::new(0) }
    }

    /// Starts them all, and returns what resident memory their touching has added.
    fn added(&self) -> u64 {
        let gate = Barrier::new(self.threads + 1);
        let live = || {
            gate.wait();
            gate.wait();
            touch();
            gate.wait();
            gate.wait();
        };
        thread::scope(|scope| {
            for _ in 0..self.threads {
                thread::Builder::new().stack_size(STACK).spawn_scoped(scope, live).expect("so many threads");
            }
            gate.wait();
            let before = resident();
            gate.wait();
            gate.wait();
            let after = resident();
            gate.wait();
            after.saturating_sub(before)
        })
    }
}

fn resident() -> u64 {
    process::resident().expect("it could be read when main began").now
}

/// Allocates, writes and frees an object of each class.
fn touch() {
    for layout in classes() {
        // SAFETY: the layout is one of `heap::layout`; the object is freed once, with it.
        unsafe { heap::give_back(heap::obtain(layout, 0), layout) };
    }
}

/// One layout for each class: `STEPS` for each doubling, in whole units of 16 B.
fn classes() -> impl Iterator<Item = Layout> {
    let doublings = (0..).map(|power| 16 << power).take_while(|&start| start < LARGEST);
    let steps = |start: usize| (0..STEPS).map(move |step| start + start * step / STEPS).filter(|size| size % 16 == 0);
    doublings.flat_map(steps).chain([LARGEST]).map(heap::layout)
}

impl Workload for IdleThreads {
    fn passes(&self) -> Passes {
        Passes { warm_up: 0, timed: self.threads as u64 }
    }

    fn workers(&self) -> usize {
        1
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(Starter(self))
    }

    fn left_bytes(&self) -> Option<u64> {
        Some(self.left.load(Ordering::Relaxed))
    }
}

struct Starter<'a>(&'a IdleThreads);

impl Worker for Starter<'_> {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        if ops > 0 {
            // Relaxed: read after this thread has been joined.
            self.0.left.store(self.0.added(), Ordering::Relaxed);
        }
        self.0.seed.wrapping_add(ops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_distinct_and_reach_their_bounds() {
        let sizes: Vec<_> = classes().map(|layout| layout.size()).collect();
        assert!(sizes.is_sorted_by(|one, next| one < next));
        assert_eq!((sizes[0], sizes.last()), (16, Some(&LARGEST)));
        assert_eq!(sizes.len(), 1 + 2 + 4 + 8 * 8 + 1);
    }
}
