//! The figures, computed from the samples; serialized as they are, this is the JSON file.
//!
//! Units: nanoseconds and bytes. `format` grows when a field changes its meaning or goes away; new fields may come.

use std::collections::BTreeMap;

use alloc_bench::corpus::Corpus;
use alloc_bench::protocol::{Kfree, Sample};
use alloc_bench::statistics::{self, Ratio};
use alloc_bench::workloads::Retires;
use serde::Serialize;

use super::contenders::Contender;
use super::deferral;
use super::goals::{self, Verdict};
use super::machine::{self, Machine};
use super::options::Options;
use super::rounds::Measured;
use super::stopped;

/// The greatest ratio of peak memory to the best peer's that is good enough.
const MEMORY_GOAL: f64 = 1.1;

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    format: u32,
    date: String,
    machine: Machine,
    versions: BTreeMap<String, String>,
    tuning: BTreeMap<String, String>,
    seed: u64,
    scale: f64,
    rounds: u32,
    pub(crate) interrupted: bool,
    sources: Option<SourcesRead>,
    /// One series per allocator.
    pub(crate) rows: Vec<Row>,
    pub(crate) memory: Memory,
    kfree: Kfree,
    /// A group of series for each scheme.
    pub(crate) deferral: Vec<deferral::Row>,
    pub(crate) deferral_goals: Vec<Verdict>,
}

/// How much real input there was.
#[derive(Debug, Serialize)]
struct SourcesRead {
    files: usize,
    bytes: u64,
}

/// A workload with a number of threads.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: &'static str,
    pub(crate) threads: usize,
    pub(crate) goal: Option<f64>,
    pub(crate) series: Vec<Series>,
    pub(crate) time: Option<ToBest>,
    pub(crate) cpu: Option<ToBest>,
    pub(crate) memory: Option<ToBest>,
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
    pub(crate) samples: Vec<Sample>,
    #[serde(skip)]
    is_ours: bool,
}

/// Our median by the best peer's.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ToBest {
    pub(crate) best_peer: &'static str,
    #[serde(flatten)]
    pub(crate) ratio: Ratio,
}

/// Peak memory over all rows of the bar (over all rows, where none of the bar was measured).
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// Per allocator, the geometric mean of the rows' medians.
    pub(crate) geometric_mean_bytes: BTreeMap<&'static str, f64>,
    pub(crate) best_peer: Option<&'static str>,
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: f64,
}

impl Report {
    /// Computes the figures.
    pub(crate) fn new(
        options: &Options,
        versions: BTreeMap<String, String>,
        sources: Option<Corpus>,
        rows: Vec<Measured>,
    ) -> Self {
        let (deferral, plain): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|row| row.workload.retires == Retires::ByEach);
        let rows: Vec<Row> = plain.into_iter().map(|row| Row::new(row, options.seed)).collect();
        let deferral: Vec<_> = deferral.into_iter().map(|row| deferral::Row::new(row, options.seed)).collect();
        Self {
            format: 2,
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            machine: Machine::here(),
            versions,
            tuning: machine::tuning(),
            seed: options.seed,
            scale: options.scale(),
            rounds: options.rounds(),
            interrupted: stopped(),
            sources: sources.map(|corpus| SourcesRead { files: corpus.files.len(), bytes: corpus.bytes }),
            memory: Memory::new(&rows),
            rows,
            kfree: options.kfree(),
            deferral_goals: goals::verdicts(&deferral, options.seed),
            deferral,
        }
    }
}

impl Row {
    fn new(row: Measured, seed: u64) -> Self {
        let (workload, threads, goal) = (row.workload.name, row.threads, row.workload.goal);
        let series: Vec<Series> = row.series.into_iter().map(|(one, samples)| Series::new(one, samples)).collect();
        let peers: Vec<&Series> = series.iter().filter(|series| !series.is_ours).collect();
        let ours = series.iter().find(|series| series.is_ours);
        let compare = |figure| to_best(ours?, &peers, figure, seed);
        let time = compare(Sample::ns_per_op);
        let memory = compare(|sample| sample.peak_bytes as f64);
        let cpu = compare(Sample::cpu_ns_per_op);
        Self { workload, threads, goal, series, time, cpu, memory }
    }
}

impl Series {
    /// Computes the medians.
    pub(crate) fn new(contender: Contender, samples: Vec<Sample>) -> Self {
        let of = |figure: fn(&Sample) -> f64| samples.iter().map(figure).collect::<Vec<f64>>();
        let median = |figure| statistics::median(&of(figure)).unwrap_or(f64::NAN);
        Self {
            allocator: contender.allocator.name,
            scheme: contender.scheme.map(|scheme| scheme.name),
            ns_per_op: median(Sample::ns_per_op),
            ns_spread: statistics::spread(&of(Sample::ns_per_op)).unwrap_or(f64::NAN),
            cpu_ns_per_op: median(Sample::cpu_ns_per_op),
            peak_bytes: median(|sample| sample.peak_bytes as f64),
            samples,
            is_ours: contender.allocator.is_ours,
        }
    }

    /// Whether it is of our allocator.
    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }
}

/// Compares a figure of ours with the best peer's.
pub(crate) fn to_best(ours: &Series, peers: &[&Series], figure: fn(&Sample) -> f64, seed: u64) -> Option<ToBest> {
    let figures = |series: &Series| series.samples.iter().map(figure).collect::<Vec<f64>>();
    let theirs: Vec<Vec<f64>> = peers.iter().map(|peer| figures(peer)).collect();
    let theirs: Vec<&[f64]> = theirs.iter().map(Vec::as_slice).collect();
    let ratio = statistics::ratio_to_best(&figures(ours), &theirs, seed)?;
    Some(ToBest { best_peer: peers[ratio.best].allocator, ratio })
}

impl Memory {
    fn new(rows: &[Row]) -> Self {
        let any_of_the_bar = rows.iter().any(|row| row.goal.is_some());
        let counted = rows.iter().filter(|row| row.goal.is_some() || !any_of_the_bar);
        let mut peaks: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        let (mut ours, mut geometric_mean_bytes) = (None, BTreeMap::new());
        for series in counted.flat_map(|row| &row.series) {
            peaks.entry(series.allocator).or_default().push(series.peak_bytes);
            ours = ours.or(series.is_ours.then_some(series.allocator));
        }
        for (allocator, peaks) in peaks {
            geometric_mean_bytes.extend(statistics::geometric_mean(&peaks).map(|mean| (allocator, mean)));
        }
        let peers = geometric_mean_bytes.iter().filter(|(allocator, _)| Some(**allocator) != ours);
        let best = peers.min_by(|one, other| one.1.total_cmp(other.1)).map(|(&allocator, &mean)| (allocator, mean));
        let ratio = ours.zip(best).map(|(ours, (_, least))| geometric_mean_bytes[ours] / least);
        Self { best_peer: best.map(|(allocator, _)| allocator), ratio, geometric_mean_bytes, goal: MEMORY_GOAL }
    }
}

#[cfg(test)]
pub(super) mod tests {
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
        };
        vec![sample; 3]
    }

    fn row(workload: &str, peak_bytes: [u64; 3]) -> Row {
        let series = ["gracealloc", "jemalloc", "system"].into_iter().zip(peak_bytes).zip([6, 8, 12]);
        let contender = |name| Contender { allocator: allocators::find(name).unwrap(), scheme: None };
        let series = series.map(|((name, peak), ns)| (contender(name), samples(ns, peak)));
        Row::new(Measured { workload: workloads::find(workload).unwrap(), threads: 1, series: series.collect() }, 1)
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
    fn memory_is_the_geometric_mean_over_rows_of_the_bar() {
        let rows = [row("pair-64", [2, 1, 9]), row("batch-1000", [8, 4, 9]), row("batch-100000", [1, 99, 99])];
        let memory = Memory::new(&rows);
        assert!((memory.ratio.unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(memory.best_peer, Some("jemalloc"));
    }

    #[test]
    fn without_rows_there_is_no_ratio() {
        assert_eq!(Memory::new(&[]).ratio, None);
    }
}
