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
//! After the timed pass the workers end, and main waits for what they have left to be given back: the drain.
//!
//! Threads are not pinned. They are spawned even where there is one, because C libraries take shortcuts in processes
//! that never had a second thread.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::latency::Latencies;
use crate::process;
use crate::schemes::Counters;
use crate::workloads::Workload;

/// What one workload's timed pass came to, and the drain after it.
#[derive(Debug, Default)]
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
    /// From the workers' end until nothing waited to be given back.
    pub drain: Duration,
    /// Processor time of the whole process meanwhile.
    pub drain_cpu: Duration,
    /// What the scheme has counted in the timed pass and the drain; of the backlog, the peak since the program's start.
    pub counters: Option<Counters>,
    /// From the end of the drain until memory was what it had been, where that is waited for and happens.
    pub settle: Option<Duration>,
    /// The workload's own figures, where memory is what it measures.
    pub left_bytes: Option<u64>,
    /// Likewise.
    pub waiting_bytes: Option<u64>,
}

/// What one worker's timed pass came to.
struct Part {
    start: Instant,
    end: Instant,
    checksum: u64,
    latencies: Latencies,
}

/// Warms the workload up, measures it, and waits for what it has left.
///
/// # Panics
///
/// If a worker panics; the other workers may then wait for ever, so a process that measures makes panics abort.
pub fn measure(workload: &mut dyn Workload) -> Lap {
    let (lap, before) = run(workload);
    let (drain, drain_cpu) = drain(workload);
    let counters = workload.counters().zip(before).map(|(after, before)| since(before, after));
    let settle = workload.settle();
    let (left_bytes, waiting_bytes) = (workload.left_bytes(), workload.waiting_bytes());
    Lap { drain, drain_cpu, counters, settle, left_bytes, waiting_bytes, ..lap }
}

/// Runs the first worker's timed pass in this thread, without warm-up and with no clock: who started the process has it.
/// All of it is one operation.
pub fn run_here(workload: &dyn Workload) -> Lap {
    let mut latencies = Latencies::new();
    let checksum = workload.worker(0).run(workload.passes().timed, &mut latencies);
    Lap { ops: 1, checksum, ..Lap::default() }
}

/// Both passes, and the counters between them.
fn run(workload: &dyn Workload) -> (Lap, Option<Counters>) {
    let passes = workload.passes();
    let gate = Barrier::new(workload.workers() + 1);
    thread::scope(|scope| {
        let spawn = |index| {
            let gate = &gate;
            scope.spawn(move || work(workload, index, gate))
        };
        let workers: Vec<_> = (0..workload.workers()).map(spawn).collect();
        conduct(workload, passes.warm_up, &gate);
        let before = workload.counters();
        let cpu = conduct(workload, passes.timed, &gate);
        let parts: Vec<Part> = workers.into_iter().map(|worker| worker.join().expect("a worker panicked")).collect();
        (combine(passes.timed, cpu, &parts), before)
    })
}

/// How long the drain takes, and the processor time of it.
fn drain(workload: &mut dyn Workload) -> (Duration, Duration) {
    let (start, before) = (Instant::now(), process::cpu_time());
    workload.drain();
    (start.elapsed(), process::cpu_time().saturating_sub(before))
}

fn since(before: Counters, after: Counters) -> Counters {
    Counters { grace_periods: after.grace_periods.wrapping_sub(before.grace_periods), ..after }
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
    Lap { ops, elapsed: end - start, cpu, checksum, latencies, ..Lap::default() }
}
