//! The twin of the kernel's `rcuscale kfree_rcu_test`, with its parameters under its names: each of `kfree_nthreads`
//! threads does `kfree_loops` times `kfree_alloc_num` allocations of 24 B × `kfree_mult`, and retires each at once.
//!
//! The kernel's test times only this, and then tells batches (grace periods) and memory. Ours adds what a user waits for
//! or stumbles over: how long it takes afterwards until everything has been given back (the drain), and single steps.
//! A look at the clock costs more than a step, so one in `STRIDE` is timed. That is a prime number, and schemes work
//! in powers of two: sooner or later the timed step is the one that seals a bag or drains a page.

use anyhow::{Result, bail};

use super::defer_steady::update;
use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;
use crate::protocol::Kfree;
use crate::schemes::{self, Counters, Member, Object, Scheme};

/// One operation is one object.
pub const SPEC: Spec = Spec {
    name: "kfree-twin",
    about: "rcuscale kfree_rcu_test: loops of allocating 24 B and retiring it at once, then the drain",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    retires: Retires::ByEach,
    prepare: |setup| (super::scheme(setup)?.kfree_twin)(setup),
};

/// Words of the kernel's `struct kfree_obj`: eight bytes and a `struct rcu_head`.
const KFREE_OBJ: usize = 3;
/// One step of so many is timed.
const STRIDE: u64 = 61;

/// Prepares it with the scheme `S`. The size is known when it is compiled, as that of a Rust object is.
pub(crate) fn prepare_with<S: Scheme>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    Ok(match setup.kfree.kfree_mult {
        1 => Box::new(KfreeTwin::<S, KFREE_OBJ>::new(setup)),
        2 => Box::new(KfreeTwin::<S, { 2 * KFREE_OBJ }>::new(setup)),
        4 => Box::new(KfreeTwin::<S, { 4 * KFREE_OBJ }>::new(setup)),
        8 => Box::new(KfreeTwin::<S, { 8 * KFREE_OBJ }>::new(setup)),
        16 => Box::new(KfreeTwin::<S, { 16 * KFREE_OBJ }>::new(setup)),
        other => bail!("kfree_mult is {other}, and must be one of {:?}", Kfree::MULTS),
    })
}

struct KfreeTwin<S, const WORDS: usize> {
    threads: usize,
    passes: Passes,
    seed: u64,
    scheme: S,
}

impl<S: Scheme, const WORDS: usize> KfreeTwin<S, WORDS> {
    fn new(setup: &Setup<'_>) -> Self {
        let step = setup.kfree.kfree_alloc_num;
        let afford = |ops| schemes::affordable::<S>(ops, step, size_of::<Object<WORDS>>(), setup.threads);
        let passes = setup.passes(setup.kfree.ops(), step).map(afford);
        Self { threads: setup.threads, passes, seed: setup.seed, scheme: S::default() }
    }
}

impl<S: Scheme, const WORDS: usize> Workload for KfreeTwin<S, WORDS> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(KfreeThread::<S, WORDS> { seed: self.seed, scheme: Member::new(&self.scheme) })
    }

    fn drain(&mut self) {
        self.scheme.drain();
    }

    fn counters(&self) -> Option<Counters> {
        self.scheme.counters()
    }
}

struct KfreeThread<'a, S: Scheme, const WORDS: usize> {
    seed: u64,
    scheme: Member<'a, S>,
}

impl<S: Scheme, const WORDS: usize> Worker for KfreeThread<'_, S, WORDS> {
    fn run(&mut self, ops: u64, latencies: &mut Latencies) -> u64 {
        let mut word = 0;
        while word < ops {
            latencies.time(|| update::<S, WORDS>(&self.scheme, word));
            let next = ops.min(word + STRIDE);
            (word + 1..next).for_each(|word| update::<S, WORDS>(&self.scheme, word));
            word = next;
        }
        self.seed.wrapping_add(ops)
    }
}
