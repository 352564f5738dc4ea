//! Deferral while a reader stays: every thread retires inside one long section of its own, so that nothing comes back and
//! everything piles up. What is measured is what an object that waits costs, in time and in memory beside its own; and with
//! the flood, how fast it all comes back once the sections are over, and whether the memory does.
//!
//! ```text
//! worker 0   resident, enter ── ops ──┐ all ── resident ── leave
//! others                enter ── ops ─┘ done            leave
//! main                                                         drain until nothing waits, settle
//! ```
//!
//! Some free as the last reader leaves, which is part of the pass, and some in the drain: only both together compare.
//! The warm-up is so short that it leaves nothing worth using again.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::defer_steady::{WORDS, update};
use super::shrink;
use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;
use crate::process;
use crate::schemes::{Counters, Member, Object, Readers, WITH_READERS};

/// With each number of threads, on each allocator.
pub const SPEC: Spec = Spec {
    name: "defer-64-held",
    about: "defer-64 inside one long section of a reader, so that all of it waits",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::ByThose(WITH_READERS),
    prepare: |setup| (super::able(setup, |scheme| scheme.of_readers)?.defer_held)(setup),
};

/// Ten times as many, with one thread.
pub const FLOOD: Spec = Spec {
    name: "flood-10m",
    about: "10 million objects of 64 B that wait for one reader; then until all are given back, and the memory is",
    by_default: false,
    measures: Measures::Drain,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::OnOne(WITH_READERS),
    prepare: |setup| (super::able(setup, |scheme| scheme.of_readers)?.flood)(setup),
};

const OPS: u64 = 1_000_000;
const FLOOD_OPS: u64 = 10_000_000;
/// At most, of the warm-up.
const FEW: u64 = 1_000;

/// Memory is as before within this.
const TOLERANCE: f64 = 1.05;
/// It is waited for so long at scale 1, while the program goes on with little.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of one object.
pub const OBJECT_BYTES: u64 = size_of::<Object<WORDS>>() as u64;

/// Prepares it with the scheme `S`.
pub(crate) fn prepare_with<S: Readers>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    Ok(Box::new(DeferHeld::<S>::new(setup, OPS, Duration::ZERO)))
}

/// Prepares the flood.
pub(crate) fn prepare_flood_with<S: Readers>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    Ok(Box::new(DeferHeld::<S>::new(setup, FLOOD_OPS, PATIENCE.mul_f64(setup.scale.min(1.0)))))
}

struct DeferHeld<S> {
    passes: Passes,
    seed: u64,
    scheme: S,
    /// The workers, when each has retired all it has to.
    done: Barrier,
    threads: usize,
    /// Resident memory before and at the end of the last pass.
    before: AtomicU64,
    full: AtomicU64,
    patience: Duration,
}

impl<S: Readers> DeferHeld<S> {
    fn new(setup: &Setup<'_>, ops: u64, patience: Duration) -> Self {
        let timed = setup.passes(ops, 1).timed;
        let passes = Passes { warm_up: timed.min(FEW), timed };
        let (done, threads) = (Barrier::new(setup.threads), setup.threads);
        let [before, full] = [0, 0].map(AtomicU64::new);
        Self { passes, seed: setup.seed, scheme: S::default(), done, threads, before, full, patience }
    }

    fn is_waiting(&self) -> bool {
        self.scheme.counters().is_some_and(|counters| counters.waiting_objects > 0)
    }
}

fn resident() -> u64 {
    process::resident().expect("it could be read when main began").now
}

impl<S: Readers> Workload for DeferHeld<S> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, index: usize) -> Box<dyn Worker + '_> {
        Box::new(Holder { held: self, looks: index == 0, scheme: Member::new(&self.scheme) })
    }

    /// Relaxed: the workers wait.
    fn begin(&self, _ops: u64) {
        self.before.store(resident(), Relaxed);
    }

    /// Nothing may be left that the scheme knows of.
    fn drain(&mut self) {
        self.scheme.drain();
        while self.is_waiting() {
            self.scheme.drain();
        }
    }

    fn counters(&self) -> Option<Counters> {
        self.scheme.counters()
    }

    fn settle(&self) -> Option<Duration> {
        let (begin, goal) = (Instant::now(), self.before.load(Relaxed) as f64 * TOLERANCE);
        let is_back = || resident() as f64 <= goal;
        while !is_back() && begin.elapsed() < self.patience {
            shrink::go_on();
        }
        is_back().then(|| begin.elapsed())
    }

    fn left_bytes(&self) -> Option<u64> {
        (!self.patience.is_zero()).then(|| resident().saturating_sub(self.before.load(Relaxed)))
    }

    fn waiting_bytes(&self) -> Option<u64> {
        Some(self.full.load(Relaxed).saturating_sub(self.before.load(Relaxed)))
    }
}

struct Holder<'a, S: Readers> {
    held: &'a DeferHeld<S>,
    /// Whether it is the one that looks at memory.
    looks: bool,
    scheme: Member<'a, S>,
}

impl<S: Readers> Worker for Holder<'_, S> {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        let section = self.scheme.enter();
        (0..ops).for_each(|word| update::<S, WORDS>(&self.scheme, word));
        self.held.done.wait();
        if self.looks {
            // Relaxed: read after this thread has been joined.
            self.held.full.store(resident(), Relaxed);
        }
        drop(section);
        self.held.seed.wrapping_add(ops)
    }
}
