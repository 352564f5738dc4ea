//! How long it takes until all readers have left that there are: one thread waits for them, over and over, and each wait is
//! timed. With one thread nobody else is about, and what is measured is the machinery alone. With more, the others enter
//! and leave short sections without a pause: the wait is then for them, and on a machine without a free processor for the
//! scheduler too.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;
use crate::schemes::{Expedites, Member, WITH_EXPEDITED, WITH_WAITS, Waits};

/// One operation is one wait of the first thread.
pub const SPEC: Spec = Spec {
    name: "synchronize",
    about: "wait for all readers (1: there are none, 2: beside a busy one)",
    by_default: false,
    measures: Measures::Waits,
    needs_corpus: false,
    retires: Retires::OnOne(WITH_WAITS),
    prepare: |setup| (super::able(setup, |scheme| scheme.of_waits)?.synchronize)(setup),
};

/// The same in a hurry.
pub const EXPEDITED: Spec = Spec {
    name: "synchronize-expedited",
    about: "likewise, in a hurry",
    retires: Retires::OnOne(WITH_EXPEDITED),
    prepare: |setup| super::able(setup, |scheme| scheme.expedited)?(setup),
    ..SPEC
};

const OPS: u64 = 500;

/// Prepares it with the scheme `S`.
pub(crate) fn prepare_with<S: Waits>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    prepare(setup, S::synchronize)
}

/// Prepares the hurry.
pub(crate) fn prepare_expedited_with<S: Expedites>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    prepare(setup, S::synchronize_expedited)
}

fn prepare<S: Waits>(setup: &Setup<'_>, wait: fn(&S)) -> Result<Box<dyn Workload>> {
    let (threads, passes, seed) = (setup.threads, setup.passes(OPS, 1), setup.seed);
    Ok(Box::new(Synchronize { threads, passes, seed, wait, scheme: S::default(), is_over: AtomicBool::new(false) }))
}

struct Synchronize<S> {
    threads: usize,
    passes: Passes,
    seed: u64,
    wait: fn(&S),
    scheme: S,
    /// The first thread has done its waits. Relaxed: it says no more than that.
    is_over: AtomicBool,
}

impl<S: Waits> Workload for Synchronize<S> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, index: usize) -> Box<dyn Worker + '_> {
        let (shared, scheme) = (self, Member::new(&self.scheme));
        if index == 0 { Box::new(Waiter { shared, scheme }) } else { Box::new(Busy { shared, scheme }) }
    }

    fn begin(&self, _ops: u64) {
        self.is_over.store(false, Relaxed);
    }
}

struct Waiter<'a, S: Waits> {
    shared: &'a Synchronize<S>,
    scheme: Member<'a, S>,
}

impl<S: Waits> Worker for Waiter<'_, S> {
    fn run(&mut self, ops: u64, latencies: &mut Latencies) -> u64 {
        (0..ops).for_each(|_| latencies.time(|| (self.shared.wait)(&self.scheme)));
        self.shared.is_over.store(true, Relaxed);
        self.shared.seed.wrapping_add(ops)
    }
}

/// A reader that has nothing else to do.
struct Busy<'a, S: Waits> {
    shared: &'a Synchronize<S>,
    scheme: Member<'a, S>,
}

/// Sections between two looks whether it is over.
const SECTIONS: u64 = 64;

impl<S: Waits> Worker for Busy<'_, S> {
    fn run(&mut self, _ops: u64, _latencies: &mut Latencies) -> u64 {
        while !self.shared.is_over.load(Relaxed) {
            self.scheme.enter_and_leave(SECTIONS);
        }
        0
    }
}
