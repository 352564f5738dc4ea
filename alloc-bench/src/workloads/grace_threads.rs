//! A grace period with many threads about: two or two thousand, each of which has been a reader once, and then sleeps. A
//! scheme with a record for each thread goes through all of them every time; one that counts readers by processor does not.
//!
//! ```text
//! threads  ─┬─ read once ─┬──────────────────┬─ end
//! main      start         idle   its waits   over
//! ```

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;
use crate::schemes::{Member, WITH_WAITS, Waits};

/// One operation is one wait for readers. The threads of a row are the idle ones.
pub const SPEC: Spec = Spec {
    name: "grace-threads",
    about: "wait for all readers beside so many idle threads that have read once",
    by_default: false,
    measures: Measures::Waits,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::OnOne(WITH_WAITS),
    prepare: |setup| (super::able(setup, |scheme| scheme.of_waits)?.grace_threads)(setup),
};

/// The numbers of threads that are compared.
pub const THREADS: [usize; 2] = [2, 2000];
/// Enough for a few calls.
const STACK: usize = 64 << 10;
const OPS: u64 = 200;
/// Until all of them sleep again whom the gate has woken.
const SETTLE: Duration = Duration::from_millis(100);

/// Prepares it with the scheme `S`. A small scale is one of threads too.
pub(crate) fn prepare_with<S: Waits>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    let idle = ((setup.threads as f64 * setup.scale.min(1.0)) as usize).max(THREADS[0]);
    Ok(Box::new(GraceThreads { idle, passes: setup.passes(OPS, 1), seed: setup.seed, scheme: S::default() }))
}

struct GraceThreads<S> {
    idle: usize,
    passes: Passes,
    seed: u64,
    scheme: S,
}

impl<S: Waits> Workload for GraceThreads<S> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        1
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(Waiter { shared: self, scheme: Member::new(&self.scheme) })
    }
}

struct Waiter<'a, S: Waits> {
    shared: &'a GraceThreads<S>,
    scheme: Member<'a, S>,
}

impl<S: Waits> Worker for Waiter<'_, S> {
    /// The threads start and end in every pass: only single waits are timed.
    fn run(&mut self, ops: u64, latencies: &mut Latencies) -> u64 {
        let gate = Barrier::new(self.shared.idle + 1);
        let live = || {
            let scheme = Member::new(&self.shared.scheme);
            scheme.enter_and_leave(1);
            gate.wait();
            gate.wait();
        };
        thread::scope(|scope| {
            for _ in 0..self.shared.idle {
                thread::Builder::new().stack_size(STACK).spawn_scoped(scope, live).expect("so many threads");
            }
            gate.wait();
            thread::sleep(SETTLE);
            (0..ops).for_each(|_| latencies.time(|| self.scheme.synchronize()));
            gate.wait();
        });
        self.shared.seed.wrapping_add(ops)
    }
}
