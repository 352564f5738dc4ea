//! Deferral in its steady state: an object is allocated, written, and retired at once, over and over, as the updates of a
//! structure that is read without locks do. What comes back from its wait is what the next allocation gets.
//!
//! Nobody reads, so what is measured is the writers' side alone: the allocation, the scheme's call with the guard that it
//! needs, and reclaim, whoever does it. A reclaiming thread of the scheme shows in processor time.

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::heap;
use crate::latency::Latencies;
use crate::schemes::{self, Member, Object, Scheme};

/// 64 bytes.
pub const SPEC: Spec = Spec {
    name: "defer-64",
    about: "allocate 64 B and retire it at once, in steady state",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    retires: Retires::ByEach,
    prepare: |setup| (super::scheme(setup)?.defer_steady)(setup),
};

/// Of an object.
pub(super) const WORDS: usize = 8;
const OPS: u64 = 250_000;

/// Prepares it with the scheme `S`.
pub(crate) fn prepare_with<S: Scheme>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    let afford = |ops| schemes::affordable::<S>(ops, 1, size_of::<Object<WORDS>>(), setup.threads);
    let passes = setup.passes(OPS, 1).map(afford);
    Ok(Box::new(DeferSteady { threads: setup.threads, passes, seed: setup.seed, scheme: S::default() }))
}

struct DeferSteady<S> {
    threads: usize,
    passes: Passes,
    seed: u64,
    scheme: S,
}

impl<S: Scheme> Workload for DeferSteady<S> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(Updater { seed: self.seed, scheme: Member::new(&self.scheme) })
    }
}

struct Updater<'a, S: Scheme> {
    seed: u64,
    scheme: Member<'a, S>,
}

impl<S: Scheme> Worker for Updater<'_, S> {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        for word in 0..ops {
            update::<S, WORDS>(&self.scheme, word);
        }
        self.seed.wrapping_add(ops)
    }
}

/// One operation of a writer: a new object, and one that is not needed any more. They are the same here, which spares
/// the place between them that all schemes would pay for alike.
#[inline(always)]
pub(super) fn update<S: Scheme, const WORDS: usize>(scheme: &S, word: u64) {
    // SAFETY: the layout is one of whole words, at least one.
    let object = unsafe { heap::obtain_out_of_line(const { schemes::layout::<WORDS>() }, word) };
    // SAFETY: allocated with this layout, known to nobody else, and retired once.
    unsafe { scheme.retire::<WORDS>(object.cast()) };
}
