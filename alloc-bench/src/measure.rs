//! Threads, the barrier and the clocks around one workload.
//!
//! Every worker lives through both passes, so that what it allocated while warming up (and what the allocator keeps for
//! its thread) is there when the clock starts. A pass is three meetings at one barrier:
//!
//! ```text
//! workers  make the histogram ─┬───────────────┬─ clock, run, clock ─┬─ ...
//! main                         ready  begin()  go   (asleep)         done  CPU time
//! ```
//!
//! Threads are not pinned. They are spawned even where there is one, because C libraries take shortcuts in processes
//! that never had a second thread.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::latency::Latencies;
use crate::process;
use crate::workloads::Workload;

/// What one workload's timed pass came to.
#[derive(Debug)]
pub struct Lap {
    /// Operations of one thread.
    pub ops: u64,
    /// From the first worker's start to the last one's end.
    pub elapsed: Duration,
    /// Processor time of the whole process meanwhile.
    pub cpu: Duration,
    /// Sum over the workers, wrapping.
    pub checksum: u64,
    /// Of all workers.
    pub latencies: Latencies,
}

/// What one worker's timed pass came to.
struct Part {
    start: Instant,
    end: Instant,
    checksum: u64,
    latencies: Latencies,
}

/// Warms the workload up and measures it.
///
/// # Panics
///
/// If a worker panics; the other workers may then wait for ever, so a process that measures makes panics abort.
pub fn measure(workload: &dyn Workload) -> Lap {
    let passes = workload.passes();
    let gate = Barrier::new(workload.workers() + 1);
    thread::scope(|scope| {
        let spawn = |index| {
            let gate = &gate;
            scope.spawn(move || work(workload, index, gate))
        };
        let workers: Vec<_> = (0..workload.workers()).map(spawn).collect();
        conduct(workload, passes.warm_up, &gate);
        let cpu = conduct(workload, passes.timed, &gate);
        let parts: Vec<Part> = workers.into_iter().map(|worker| worker.join().expect("a worker panicked")).collect();
        combine(passes.timed, cpu, &parts)
    })
}

/// The main thread's side of a pass: returns the processor time it took.
fn conduct(workload: &dyn Workload, ops: u64, gate: &Barrier) -> Duration {
    gate.wait();
    workload.begin(ops);
    let before = process::cpu_time();
    gate.wait();
    gate.wait();
    process::cpu_time().saturating_sub(before)
}

/// A worker's side of both passes: returns what the second one came to.
fn work(workload: &dyn Workload, index: usize, gate: &Barrier) -> Part {
    let passes = workload.passes();
    let mut worker = workload.worker(index);
    let mut pass = |ops| {
        let mut latencies = Latencies::new();
        gate.wait();
        gate.wait();
        let start = Instant::now();
        let checksum = worker.run(ops, &mut latencies);
        let end = Instant::now();
        gate.wait();
        Part { start, end, checksum, latencies }
    };
    pass(passes.warm_up);
    pass(passes.timed)
}

fn combine(ops: u64, cpu: Duration, parts: &[Part]) -> Lap {
    let start = parts.iter().map(|part| part.start).min().expect("a workload has a worker");
    let end = parts.iter().map(|part| part.end).max().expect("a workload has a worker");
    let mut latencies = Latencies::new();
    parts.iter().for_each(|part| latencies.merge(&part.latencies));
    let checksum = parts.iter().fold(0, |sum: u64, part| sum.wrapping_add(part.checksum));
    Lap { ops, elapsed: end - start, cpu, checksum, latencies }
}
