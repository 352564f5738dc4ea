//! What driver and child say to each other: the request is the child's only argument, the sample the only line that it
//! prints. Both are JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::latency::Percentiles;

/// One measurement to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Name of the workload.
    pub workload: String,
    /// How many threads share it.
    pub threads: usize,
    /// Factor on the number of operations; 1 is the main job.
    pub scale: f64,
    /// Start of all pseudo-random sequences.
    pub seed: u64,
    /// The list of source files, for the workloads that read one.
    pub corpus: Option<PathBuf>,
    /// Name of the scheme, for the workloads that retire objects.
    pub scheme: Option<String>,
    /// Parameters of the kfree twin.
    #[serde(default)]
    pub kfree: Kfree,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// If the text is not a request, or one without threads or with a scale that is not a positive number.
    pub fn parse(text: &str) -> Result<Self> {
        let request: Self = serde_json::from_str(text).context("the argument is not a request in JSON")?;
        ensure!(request.threads > 0, "a measurement needs at least one thread");
        ensure!(request.scale.is_finite() && request.scale > 0.0, "the scale must be a positive number");
        Ok(request)
    }

    /// How long a child may take before it counts as hung: hundreds of times what it should.
    pub fn limit(&self) -> Duration {
        let work = self.scale * (self.kfree.ops() as f64 / Kfree::default().ops() as f64).max(1.0);
        Duration::from_secs_f64((60.0 + 60.0 * work).min(86_400.0))
    }
}

/// Parameters of the kernel's `rcuscale kfree_rcu_test`, under its names. Its `kfree_nthreads` is [`Request::threads`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kfree {
    /// How often a thread goes through `kfree_alloc_num` objects, at scale 1.
    pub kfree_loops: u64,
    /// How many objects are allocated in a loop.
    pub kfree_alloc_num: u64,
    /// Size of an object, in units of 24 B.
    pub kfree_mult: usize,
}

impl Kfree {
    /// The sizes that there are.
    pub const MULTS: [usize; 5] = [1, 2, 4, 8, 16];

    /// The kernel's, but for the loops: its ten take less than a millisecond here.
    pub const DEFAULT: Self = Self { kfree_loops: 50, kfree_alloc_num: 8000, kfree_mult: 1 };

    /// Objects per thread at scale 1.
    pub fn ops(&self) -> u64 {
        self.kfree_loops.saturating_mul(self.kfree_alloc_num)
    }
}

impl Default for Kfree {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The result of one measurement. Times in nanoseconds, memory in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Operations done by all threads while the clock ran.
    pub ops: u64,
    /// How many threads shared them.
    pub threads: usize,
    /// From the first thread's start to the last one's end.
    pub elapsed_ns: u64,
    /// Processor time of the process in that interval, threads of the allocator included.
    pub cpu_ns: u64,
    /// Most resident memory from the program's start to the end of the measurement.
    pub peak_bytes: u64,
    /// Resident memory when `main` began.
    pub baseline_bytes: u64,
    /// Depends on every operation: equal for all allocators, or one of them has lost or changed data.
    pub checksum: u64,
    /// Percentiles of single steps, where the workload times them.
    pub latency: Option<Percentiles>,
    /// From the threads' end until nothing waited to be given back any more.
    pub drain_ns: u64,
    /// Processor time of the process in that interval.
    pub drain_cpu_ns: u64,
    /// Grace periods from the start of the timed pass to the end of the drain, where the scheme tells.
    pub grace_periods: Option<u64>,
    /// The most bytes that were charged as waiting at one time, where the scheme tells.
    pub peak_backlog_bytes: Option<u64>,
    /// Resident memory that the workload has left, where this is what it measures.
    pub left_bytes: Option<u64>,
    /// Resident memory that the timed pass had added when everything it has retired waited, where it looks.
    pub waiting_bytes: Option<u64>,
    /// From the end of the drain until resident memory was again what it had been, where that is measured and happened.
    pub settle_ns: Option<u64>,
}

impl Sample {
    /// Time per operation as one thread sees it: wall time by the operations of one thread.
    pub fn ns_per_op(&self) -> f64 {
        self.elapsed_ns as f64 * self.threads as f64 / self.ops as f64
    }

    /// As [`Self::ns_per_op`], with the drain: schemes differ in what they do as a reader leaves.
    pub fn ns_per_op_with_drain(&self) -> f64 {
        (self.elapsed_ns + self.drain_ns) as f64 * self.threads as f64 / self.ops as f64
    }

    /// Time of the drain per operation.
    pub fn drain_ns_per_op(&self) -> f64 {
        self.drain_ns as f64 / self.ops as f64
    }

    /// The median of single steps; not a number where none were timed.
    pub fn median_step_ns(&self) -> f64 {
        self.latency.as_ref().map_or(f64::NAN, |latency| latency.p50_ns as f64)
    }

    /// Processor time per operation, that of the drain included: it was owed.
    pub fn cpu_ns_per_op(&self) -> f64 {
        (self.cpu_ns + self.drain_cpu_ns) as f64 / self.ops as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        Request {
            workload: "pair-64".into(),
            threads: 2,
            scale: 0.5,
            seed: 7,
            corpus: Some("list.json".into()),
            scheme: Some("leak".into()),
            kfree: Kfree { kfree_loops: 1, ..Kfree::default() },
        }
    }

    #[test]
    fn a_request_survives_the_round_trip() {
        let text = serde_json::to_string(&request()).unwrap();
        assert_eq!(Request::parse(&text).unwrap(), request());
    }

    #[test]
    fn a_sample_survives_the_round_trip() {
        let latency = Some(Percentiles { steps: 3, p50_ns: 1, p99_ns: 2, p999_ns: 3, max_ns: 4 });
        let (ops, threads, elapsed_ns, cpu_ns) = (10, 2, 50, 90);
        let sample = Sample {
            ops,
            threads,
            elapsed_ns,
            cpu_ns,
            peak_bytes: 1,
            baseline_bytes: 1,
            checksum: u64::MAX,
            latency,
            drain_ns: 7,
            drain_cpu_ns: 10,
            grace_periods: Some(3),
            peak_backlog_bytes: None,
            left_bytes: Some(9),
            waiting_bytes: Some(8),
            settle_ns: None,
        };
        let back: Sample = serde_json::from_str(&serde_json::to_string(&sample).unwrap()).unwrap();
        assert_eq!(back, sample);
        assert_eq!((back.ns_per_op(), back.cpu_ns_per_op(), back.drain_ns_per_op()), (10.0, 10.0, 0.7));
        assert_eq!(back.ns_per_op_with_drain(), 11.4);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Request::parse("pair").is_err());
        for bad in [Request { threads: 0, ..request() }, Request { scale: -1.0, ..request() }] {
            assert!(Request::parse(&serde_json::to_string(&bad).unwrap()).is_err());
        }
    }
}
