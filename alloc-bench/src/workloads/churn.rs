//! Churn: objects of random sizes replaced at random places, each thread in its own slots. The steady state of a
//! long-lived heap: the next object's class cannot be guessed, and frees come in no order. With few slots the allocator's
//! caches and its code are what is measured; with many, how densely it packs: each access misses the processor's caches.

use std::ptr::NonNull;

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::heap;
use crate::latency::Latencies;

/// Small objects, all sizes equally often.
pub const SMALL: Spec = Spec {
    name: "churn-16-528",
    about: "random replacement in 4096 slots, 16 to 528 B",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare::<Even>(setup, 1_250_000),
};

/// Small and large objects, all orders of magnitude equally often.
pub const WIDE: Spec = Spec {
    name: "churn-16-32k",
    about: "random replacement in 4096 slots, 16 B to 32 KiB, each power of two equally often",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare::<ByMagnitude>(setup, 300_000),
};

/// A heap that no processor's cache holds.
pub const LARGE: Spec = Spec {
    name: "churn-200k-slots",
    about: "random replacement in 200,000 slots that the threads share out, 16 to 2064 B",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare_shared(setup, 200_000),
};

/// A heap of a gigabyte.
pub const HUGE: Spec = Spec {
    name: "churn-1m-slots",
    about: "random replacement in 1,000,000 slots that the threads share out, 16 to 2064 B",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare_shared(setup, 1_000_000),
};

/// Objects alive per thread, but for the heaps that threads share out.
const SLOTS: usize = 4096;
/// Operations in those.
const SHARED_OPS: u64 = 1_200_000;

/// A distribution of sizes: at least a word, at most an `isize`.
pub(super) trait Sizes: 'static {
    /// The size that these 32 random bits stand for.
    fn size(bits: u32) -> usize;

    /// The place that these random bits stand for.
    #[inline(always)]
    fn place(bits: u64, _slots: usize) -> usize {
        bits as usize % SLOTS
    }
}

pub(super) struct Even;

impl Sizes for Even {
    #[inline(always)]
    fn size(bits: u32) -> usize {
        16 + ((u64::from(bits) * 513) >> 32) as usize
    }
}

/// All sizes up to some pages' half, in any number of slots.
struct Broad;

impl Sizes for Broad {
    #[inline(always)]
    fn size(bits: u32) -> usize {
        16 + ((u64::from(bits) * 2049) >> 32) as usize
    }

    #[inline(always)]
    fn place(bits: u64, slots: usize) -> usize {
        (((bits & 0xffff_ffff) * slots as u64) >> 32) as usize
    }
}

struct ByMagnitude;

impl Sizes for ByMagnitude {
    #[inline(always)]
    fn size(bits: u32) -> usize {
        let magnitude = 16 << (((bits >> 16) * 11) >> 16);
        magnitude + (bits as usize & (magnitude - 1))
    }
}

fn prepare<S: Sizes>(setup: &Setup<'_>, ops: u64) -> Result<Box<dyn Workload>> {
    Ok(Box::new(Churn::<S>::new(setup, ops, SLOTS)))
}

/// A scale below 1 makes these heaps smaller, too: what takes long is to fill them.
fn prepare_shared(setup: &Setup<'_>, slots: usize) -> Result<Box<dyn Workload>> {
    let slots = (slots as f64 * setup.scale.min(1.0)) as usize / setup.threads;
    Ok(Box::new(Churn::<Broad>::new(setup, SHARED_OPS, slots.max(SLOTS))))
}

struct Churn<S> {
    passes: Passes,
    /// Of each worker.
    slots: usize,
    /// One for each worker.
    randoms: Vec<fastrand::Rng>,
    sizes: std::marker::PhantomData<fn(S)>,
}

impl<S: Sizes> Churn<S> {
    fn new(setup: &Setup<'_>, ops: u64, slots: usize) -> Self {
        let randoms = (0..setup.threads).map(|worker| setup.random(worker)).collect();
        Self { passes: setup.passes(ops, 1), slots, randoms, sizes: std::marker::PhantomData }
    }
}

impl<S: Sizes> Workload for Churn<S> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.randoms.len()
    }

    fn worker(&self, index: usize) -> Box<dyn Worker + '_> {
        let mut random = self.randoms[index].clone();
        let slots = (0..self.slots).map(|_| Slot::fill::<S>(random.u64(..))).collect();
        Box::new(ChurnWorker { random, slots, sizes: self.sizes })
    }
}

/// A live object, its size, and the word that it must hold.
pub(super) struct Slot {
    object: NonNull<u64>,
    size: usize,
}

impl Slot {
    /// Allocates an object whose size comes from the upper half of `bits`, and writes them all into it.
    #[inline(always)]
    pub(super) fn fill<S: Sizes>(bits: u64) -> Self {
        let size = S::size((bits >> 32) as u32);
        // SAFETY: the layout is one of `heap::layout`.
        let object = unsafe { heap::obtain(heap::layout(size), bits) };
        Self { object, size }
    }

    pub(super) fn word(&self) -> u64 {
        // SAFETY: the object is alive as long as its slot, and starts with a word.
        unsafe { self.object.read_volatile() }
    }
}

// SAFETY: a slot owns its object, and nobody else has it; any thread may free it.
unsafe impl Send for Slot {}

impl Drop for Slot {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: allocated with this layout by `fill`, and freed here only.
        unsafe { heap::give_back(self.object, heap::layout(self.size)) };
    }
}

struct ChurnWorker<S> {
    random: fastrand::Rng,
    slots: Box<[Slot]>,
    sizes: std::marker::PhantomData<fn(S)>,
}

impl<S: Sizes> Worker for ChurnWorker<S> {
    /// The old object is freed first: a program that replaces something has room for one.
    /// The checksum is what some thousand living objects hold at the end; reading each before its free would warm the
    /// cache line for those allocators that link free objects through themselves.
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        let mut random = self.random.clone();
        for _ in 0..ops {
            let bits = random.u64(..);
            let place = S::place(bits, self.slots.len());
            replace::<S>(&mut self.slots[place], bits);
        }
        self.random = random;
        self.slots.iter().take(SLOTS).fold(0, |sum: u64, slot| sum.wrapping_add(slot.word()))
    }
}

/// Frees what the slot holds, then fills it anew.
#[inline(always)]
pub(super) fn replace<S: Sizes>(slot: &mut Slot, bits: u64) {
    let place: *mut Slot = slot;
    // SAFETY: the slot is dropped and written again at once; nothing between the two can unwind (a lack of memory ends
    // the process), so nobody sees it empty.
    unsafe {
        place.drop_in_place();
        place.write(Slot::fill::<S>(bits));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_reach_their_bounds_and_no_further() {
        assert_eq!((Even::size(0), Even::size(u32::MAX)), (16, 528));
        assert_eq!((Broad::size(0), Broad::size(u32::MAX)), (16, 2064));
        assert_eq!((Broad::place(0, 1000), Broad::place(u64::MAX, 1000)), (0, 999));
        assert_eq!((ByMagnitude::size(0), ByMagnitude::size(u32::MAX)), (16, 32 * 1024 - 1));
    }

    #[test]
    fn another_seed_gives_another_sequence() {
        use crate::workloads::tests::tiny;
        assert_ne!(tiny(&SMALL, 1, 5), tiny(&SMALL, 1, 6));
    }
}
