//! Shrinking: a heap that grows to a gibibyte of small objects, which are then all freed, and a program that goes on with
//! little for two decay periods of a second each. What is measured is the resident memory that it still has: a server
//! after its busiest hour.
//!
//! The little that goes on is 64 KiB of objects every 10 ms, which caches can serve: an allocator that gives memory back
//! only as it passes deeper slow paths does not get to pass them.

use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;
use crate::{heap, process};

/// The size of the heap is that of the name, at scale 1.
pub const SPEC: Spec = Spec {
    name: "shrink-1g",
    about: "resident memory that is left two seconds after 1 GiB of objects of 16 to 2064 B was freed",
    by_default: false,
    measures: Measures::Memory,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| Ok(Box::new(Shrink::new(setup))),
};

/// gracealloc's default; of the others, some decay faster, some slower, some never.
const DECAY: Duration = Duration::from_secs(1);
/// Between two batches, and the objects in one.
const PAUSE: Duration = Duration::from_millis(10);
const BATCH: u64 = 1_024;

const HEAP: f64 = (1_u64 << 30) as f64;
/// Of the sizes, which all come equally often.
const MEAN_SIZE: f64 = 1040.0;

struct Shrink {
    objects: u64,
    seed: u64,
    left: AtomicU64,
}

impl Shrink {
    fn new(setup: &Setup<'_>) -> Self {
        let objects = (HEAP / MEAN_SIZE * setup.scale.min(1.0)) as u64;
        Self { objects: objects.max(BATCH), seed: setup.seed, left: AtomicU64::new(0) }
    }

    /// Grows, frees, goes on for a while, and returns what is resident more than before.
    fn left_over(&self) -> u64 {
        let before = resident();
        fill_and_free(self.objects, size);
        let freed = Instant::now();
        while freed.elapsed() < 2 * DECAY {
            go_on();
        }
        resident().saturating_sub(before)
    }
}

/// The little that a program goes on with.
pub(super) fn go_on() {
    fill_and_free(BATCH, |_| 64);
    thread::sleep(PAUSE);
}

fn resident() -> u64 {
    process::resident().expect("it could be read when main began").now
}

/// All sizes from 16 B to 2064 B, in an order without neighbours.
fn size(word: u64) -> usize {
    16 + (word.wrapping_mul(1031) % 2049) as usize
}

/// Allocates as many objects, each with its number in it, then frees them in the same order.
fn fill_and_free(objects: u64, size: impl Fn(u64) -> usize) {
    let layout = |word| -> Layout { heap::layout(size(word)) };
    // SAFETY: the layout is one of `heap::layout`.
    let all: Vec<NonNull<u64>> = (0..objects).map(|word| unsafe { heap::obtain(layout(word), word) }).collect();
    for (word, object) in (0..).zip(all) {
        // SAFETY: allocated with this layout just now, and freed once.
        unsafe { heap::give_back(object, layout(word)) };
    }
}

impl Workload for Shrink {
    fn passes(&self) -> Passes {
        Passes { warm_up: 0, timed: self.objects }
    }

    fn workers(&self) -> usize {
        1
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(Grower(self))
    }

    fn left_bytes(&self) -> Option<u64> {
        Some(self.left.load(Ordering::Relaxed))
    }
}

struct Grower<'a>(&'a Shrink);

impl Worker for Grower<'_> {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        if ops > 0 {
            // Relaxed: read after this thread has been joined.
            self.0.left.store(self.0.left_over(), Ordering::Relaxed);
        }
        self.0.seed.wrapping_add(ops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_all_there_and_equally_often() {
        let mut sizes: Vec<_> = (0..2049).map(size).collect();
        sizes.sort_unstable();
        assert!(sizes.into_iter().eq(16..=2064));
    }
}
