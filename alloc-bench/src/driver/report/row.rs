//! One row: a workload with a number of threads, every allocator's samples, and ours held against the others.

use alloc_bench::protocol::Sample;
use alloc_bench::statistics::{self, Ratio};
use alloc_bench::workloads::Measures;
use serde::Serialize;

use crate::driver::contenders::Contender;
use crate::driver::rounds::Measured;

/// A workload with a number of threads.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: &'static str,
    pub(crate) threads: usize,
    pub(crate) series: Vec<Series>,
    /// These three, where time is measured.
    pub(crate) time: Option<ToBest>,
    pub(crate) cpu: Option<ToBest>,
    pub(crate) memory: Option<ToBest>,
    /// Memory that is left, where this is measured.
    pub(crate) left: Option<ToBest>,
    #[serde(skip)]
    pub(crate) measures: Measures,
}

/// One contender's samples and their medians.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) allocator: &'static str,
    pub(crate) scheme: Option<&'static str>,
    pub(crate) ns_per_op: f64,
    pub(crate) ns_spread: f64,
    pub(crate) cpu_ns_per_op: f64,
    pub(crate) peak_bytes: f64,
    pub(crate) left_bytes: Option<f64>,
    pub(crate) waiting_bytes: Option<f64>,
    pub(crate) samples: Vec<Sample>,
    #[serde(skip)]
    is_ours: bool,
}

/// Our median by the best peer's.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ToBest {
    pub(crate) best_peer: &'static str,
    /// Where schemes are compared, its scheme.
    pub(crate) scheme: Option<&'static str>,
    #[serde(flatten)]
    pub(crate) ratio: Ratio,
}

impl Row {
    pub(crate) fn new(row: Measured, seed: u64) -> Self {
        let (workload, threads, measures) = (row.workload.name, row.threads, row.workload.measures);
        let series: Vec<Series> = row.series.into_iter().map(|(one, samples)| Series::new(one, samples)).collect();
        let peers: Vec<&Series> = series.iter().filter(|series| !series.is_ours).collect();
        let ours = series.iter().find(|series| series.is_ours);
        let compare = |if_asked: bool, figure| to_best(ours.filter(|_| if_asked)?, &peers, figure, seed);
        let is_timed = measures != Measures::Memory;
        let time = compare(is_timed, Sample::ns_per_op);
        let memory = compare(is_timed, |sample| sample.peak_bytes as f64);
        let cpu = compare(is_timed, Sample::cpu_ns_per_op);
        let left = compare(!is_timed, |sample| sample.left_bytes.unwrap_or_default() as f64);
        Self { workload, threads, series, time, cpu, memory, left, measures }
    }

    /// Our allocator's figures.
    pub(crate) fn ours(&self) -> Option<&Series> {
        self.series.iter().find(|series| series.is_ours)
    }

    /// An allocator's figures.
    pub(crate) fn of(&self, allocator: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.allocator == allocator)
    }

    /// Whether time is measured.
    pub(crate) fn is_timed(&self) -> bool {
        self.measures != Measures::Memory
    }
}

impl Series {
    /// Computes the medians.
    pub(crate) fn new(contender: Contender, samples: Vec<Sample>) -> Self {
        let median = |figure| statistics::median(&all(&samples, figure)).unwrap_or(f64::NAN);
        Self {
            allocator: contender.allocator.name,
            scheme: contender.scheme.map(|scheme| scheme.name),
            ns_per_op: median(Sample::ns_per_op),
            ns_spread: statistics::spread(&all(&samples, Sample::ns_per_op)).unwrap_or(f64::NAN),
            cpu_ns_per_op: median(Sample::cpu_ns_per_op),
            peak_bytes: median(|sample| sample.peak_bytes as f64),
            left_bytes: of_those(&samples, |sample| sample.left_bytes),
            waiting_bytes: of_those(&samples, |sample| sample.waiting_bytes),
            samples,
            is_ours: contender.allocator.is_ours,
        }
    }

    /// The median of a figure.
    pub(crate) fn median_of(&self, figure: fn(&Sample) -> f64) -> f64 {
        statistics::median(&all(&self.samples, figure)).unwrap_or(f64::NAN)
    }

    /// How noisy a figure is; see [`statistics::spread`].
    pub(crate) fn spread_of(&self, figure: fn(&Sample) -> f64) -> f64 {
        statistics::spread(&all(&self.samples, figure)).unwrap_or(f64::NAN)
    }

    /// The median of a figure that not every sample has.
    pub(crate) fn median(&self, figure: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
        of_those(&self.samples, figure)
    }

    /// Whether it is of our allocator.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }
}

fn all(samples: &[Sample], figure: fn(&Sample) -> f64) -> Vec<f64> {
    samples.iter().map(figure).collect()
}

fn of_those(samples: &[Sample], figure: impl Fn(&Sample) -> Option<u64>) -> Option<f64> {
    statistics::median(&samples.iter().filter_map(figure).map(|it| it as f64).collect::<Vec<_>>())
}

/// Compares a figure of ours with the best peer's.
pub(crate) fn to_best(ours: &Series, peers: &[&Series], figure: fn(&Sample) -> f64, seed: u64) -> Option<ToBest> {
    let theirs: Vec<Vec<f64>> = peers.iter().map(|peer| all(&peer.samples, figure)).collect();
    let theirs: Vec<&[f64]> = theirs.iter().map(Vec::as_slice).collect();
    let ratio = statistics::ratio_to_best(&all(&ours.samples, figure), &theirs, seed)?;
    let best = peers[ratio.best];
    Some(ToBest { best_peer: best.allocator, scheme: best.scheme, ratio })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use alloc_bench::{allocators, workloads};

    /// Samples of one operation each.
    pub(crate) fn samples(ns: u64, peak_bytes: u64) -> Vec<Sample> {
        let sample = Sample {
            ops: 1,
            threads: 1,
            elapsed_ns: ns,
            cpu_ns: ns,
            peak_bytes,
            baseline_bytes: 0,
            checksum: 0,
            latency: None,
            drain_ns: 0,
            drain_cpu_ns: 0,
            grace_periods: None,
            peak_backlog_bytes: None,
            left_bytes: None,
            waiting_bytes: None,
            settle_ns: None,
        };
        vec![sample; 3]
    }

    /// A row of three allocators with 6, 8 and 12 ns.
    pub(crate) fn row(workload: &str, peak_bytes: [u64; 3]) -> Row {
        of_samples(
            workload,
            [(6, peak_bytes[0]), (8, peak_bytes[1]), (12, peak_bytes[2])].map(|(ns, peak)| samples(ns, peak)),
        )
    }

    /// A row of a workload that leaves so much of a peak of 100 bytes.
    pub(crate) fn left(workload: &str, left_bytes: [u64; 3]) -> Row {
        let sample = |left| Sample { left_bytes: Some(left), ..samples(1, 100)[0].clone() };
        of_samples(workload, left_bytes.map(|left| vec![sample(left); 3]))
    }

    fn of_samples(workload: &str, samples: [Vec<Sample>; 3]) -> Row {
        let contender = |name| Contender { allocator: allocators::find(name).unwrap(), scheme: None };
        let series = ["gracealloc", "jemalloc", "system"].map(contender).into_iter().zip(samples).collect();
        Row::new(Measured { workload: workloads::find(workload).unwrap(), threads: 1, series }, 1)
    }

    #[test]
    fn a_row_is_compared_with_the_best_peer() {
        let Row { time, cpu, memory, .. } = row("pair-64", [1, 4, 2]);
        let figures = |to: Option<ToBest>| to.map(|to| (to.best_peer, to.ratio.value)).unwrap();
        assert_eq!(figures(time), ("jemalloc", 0.75));
        assert_eq!(figures(cpu), ("jemalloc", 0.75));
        assert_eq!(figures(memory), ("system", 0.5));
    }

    #[test]
    fn memory_that_is_left_has_no_time() {
        let row = left("shrink-1g", [10, 40, 20]);
        assert_eq!(row.left.map(|to| (to.best_peer, to.ratio.value)), Some(("system", 0.5)));
        assert!(row.time.is_none() && row.memory.is_none());
    }
}
