//! What it costs to be a reader: enter a section and leave it at once, over and over. Nothing is allocated, nothing waits.
//!
//! A scheme brings the loop itself where a call for each of the two would not be what its users pay.

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;
use crate::schemes::{Member, Readers, WITH_READERS};

/// One operation is one section.
pub const SPEC: Spec = Spec {
    name: "read-section",
    about: "enter a section of a reader and leave it at once",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    retires: Retires::OnOne(WITH_READERS),
    prepare: |setup| (super::able(setup, |scheme| scheme.of_readers)?.read_section)(setup),
};

const OPS: u64 = 2_000_000;

/// Prepares it with the scheme `S`.
pub(crate) fn prepare_with<S: Readers>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    let passes = setup.passes(OPS, 1);
    Ok(Box::new(ReadSection { threads: setup.threads, passes, seed: setup.seed, scheme: S::default() }))
}

struct ReadSection<S> {
    threads: usize,
    passes: Passes,
    seed: u64,
    scheme: S,
}

impl<S: Readers> Workload for ReadSection<S> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(Reader { seed: self.seed, scheme: Member::new(&self.scheme) })
    }
}

struct Reader<'a, S: Readers> {
    seed: u64,
    scheme: Member<'a, S>,
}

impl<S: Readers> Worker for Reader<'_, S> {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        self.scheme.enter_and_leave(ops);
        self.seed.wrapping_add(ops)
    }
}
