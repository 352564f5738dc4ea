//! Large objects: buffers of 64 KiB to 16 MiB replaced at random, a word written to each of their pages, as whoever asks
//! for a buffer fills it. Most of the time goes to the kernel, and what differs is how often it is asked: an allocator
//! that keeps pages saves their faults and pays with memory.

use std::ptr::NonNull;

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::heap;
use crate::latency::Latencies;

/// Each power of two equally often.
pub const SPEC: Spec = Spec {
    name: "large-64k-16m",
    about: "random replacement in 16 slots, 64 KiB to 16 MiB, each power of two equally often, every page written",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare,
};

/// Objects alive per thread.
const SLOTS: usize = 16;
/// The size of the smallest, and how many powers of two there are from there.
const LEAST: usize = 64 << 10;
const MAGNITUDES: u64 = 8;
/// One word is written in so many bytes.
const PAGE: usize = 4096;
const OPS: u64 = 800;

fn prepare(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    let randoms = (0..setup.threads).map(|worker| setup.random(worker)).collect();
    Ok(Box::new(Large { passes: setup.passes(OPS, 1), randoms }))
}

struct Large {
    passes: Passes,
    /// One for each worker.
    randoms: Vec<fastrand::Rng>,
}

impl Workload for Large {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.randoms.len()
    }

    fn worker(&self, index: usize) -> Box<dyn Worker + '_> {
        Box::new(LargeWorker { random: self.randoms[index].clone(), slots: Default::default() })
    }
}

/// A live buffer; its first word is its size.
struct Buffer(NonNull<u64>);

impl Buffer {
    fn new(size: usize) -> Self {
        // SAFETY: the layout is one of `heap::layout`.
        let start = unsafe { heap::obtain(heap::layout(size), size as u64) };
        for offset in (PAGE..size).step_by(PAGE) {
            // SAFETY: a whole word below the size, as that and the offset are whole words; see `size`.
            unsafe { start.byte_add(offset).write_volatile(offset as u64) };
        }
        Self(start)
    }

    fn size(&self) -> usize {
        // SAFETY: the buffer is alive, and begins with this word.
        unsafe { self.0.read() as usize }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout by `new`, and freed here only.
        unsafe { heap::give_back(self.0, heap::layout(self.size())) };
    }
}

/// The size that these random bits stand for, in whole words.
fn size(bits: u64) -> usize {
    let magnitude = LEAST << (((bits >> 48) * MAGNITUDES) >> 16);
    magnitude + (bits as usize & (magnitude - 1) & !(heap::ALIGN - 1))
}

struct LargeWorker {
    random: fastrand::Rng,
    slots: [Option<Buffer>; SLOTS],
}

impl Worker for LargeWorker {
    /// Each replacement is timed. The old buffer is freed first, as in [`super::churn`].
    fn run(&mut self, ops: u64, latencies: &mut Latencies) -> u64 {
        for _ in 0..ops {
            let bits = self.random.u64(..);
            let slot = &mut self.slots[(bits >> 32) as usize % SLOTS];
            latencies.time(|| {
                drop(slot.take());
                *slot = Some(Buffer::new(size(bits)));
            });
        }
        self.slots.iter().flatten().map(|buffer| buffer.size() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_reach_their_bounds_and_no_further() {
        assert_eq!((size(0), size(u64::MAX)), (64 << 10, (16 << 20) - heap::ALIGN));
    }

    #[test]
    fn every_page_is_written_and_the_size_is_kept() {
        let buffer = Buffer::new(3 * PAGE + 8);
        // SAFETY: within the buffer, and written by `new`.
        let word = unsafe { buffer.0.byte_add(3 * PAGE).read() };
        assert_eq!((buffer.size(), word), (3 * PAGE + 8, 3 * PAGE as u64));
    }
}
