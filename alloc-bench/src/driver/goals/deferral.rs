//! What readers, grace periods and `deferred_free` are to reach: each goal bounds one figure of ours, by itself or by the
//! same figure of somebody else in the same run.

use alloc_bench::protocol::Sample;
use alloc_bench::schemes::{DEFER_DESTROY, IMMEDIATE, PEERS};
use alloc_bench::workloads::{defer_held, defer_steady, grace_threads, kfree_twin, read_section, synchronize};

use super::{Value, Verdict};
use crate::driver::deferral::Row;
use crate::driver::report::{Series, to_best};

/// What is good enough.
struct Goal {
    workload: &'static str,
    /// The number of threads that it is for, or any.
    threads: Option<usize>,
    figure: Figure,
    than: Than,
    most: f64,
    /// What would be better still.
    stretch: Option<f64>,
}

/// A figure of a sample, in words and as a number.
#[derive(Clone, Copy)]
struct Figure(&'static str, fn(&Sample) -> f64);

const TIME: Figure = Figure("time", Sample::ns_per_op);
const TIME_AND_DRAIN: Figure = Figure("time with the drain", Sample::ns_per_op_with_drain);
const CPU: Figure = Figure("processor time", Sample::cpu_ns_per_op);
const PEAK: Figure = Figure("peak memory", |sample| sample.peak_bytes as f64);
const WAIT: Figure = Figure("median wait", Sample::median_step_ns);
const DRAIN: Figure = Figure("drain per object", Sample::drain_ns_per_op);
const WAITING: Figure = Figure("memory while all waits, of the objects' own", waiting_share);
const LEFT: Figure = Figure("memory left after the flood, of what it added", left);

/// Memory that was added while everything waited, by what the objects alone take.
pub(crate) fn waiting_share(sample: &Sample) -> f64 {
    sample.waiting_bytes.map_or(f64::NAN, |bytes| bytes as f64 / (sample.ops * defer_held::OBJECT_BYTES) as f64)
}

fn left(sample: &Sample) -> f64 {
    sample.left_bytes.zip(sample.waiting_bytes).map_or(f64::NAN, |(left, added)| left as f64 / added as f64)
}

/// What it is compared with.
#[derive(Clone, Copy)]
enum Than {
    /// The allocator that is best with this scheme; ours only if it was measured alone.
    Scheme(&'static str),
    /// The best of all pairs of a peer's scheme and an allocator, whoever's.
    AnyPeer,
    /// Our allocator with this scheme.
    OnOurs(&'static str),
    /// The same, as a difference in bytes.
    AboveOnOurs(&'static str),
    /// Ourselves in another row.
    Ours(&'static str, usize),
    /// Nothing: it is a number of this kind.
    Nothing(fn(f64) -> Value),
}

use Than::{AboveOnOurs, AnyPeer, Nothing, OnOurs, Ours, Scheme};

const STEADY: &str = defer_steady::SPEC.name;
const HELD: &str = defer_held::SPEC.name;
const FLOOD: &str = defer_held::FLOOD.name;
const SYNCHRONIZE: &str = synchronize::SPEC.name;
const MIB: f64 = 1024.0 * 1024.0;
const MICROSECOND: f64 = 1e3;
/// Fifty million objects a second.
const FLOOD_NS: f64 = 20.0;

const GOALS: &[Goal] = &[
    goal(read_section::SPEC.name, None, TIME, OnOurs(DEFER_DESTROY), 0.35),
    goal(STEADY, Some(1), TIME, OnOurs(IMMEDIATE), 1.4).or_better(1.25),
    goal(STEADY, Some(1), TIME, AnyPeer, 0.3).or_better(0.22),
    goal(STEADY, Some(2), TIME, AnyPeer, 0.12).or_better(0.1),
    goal(STEADY, Some(2), TIME, Ours(STEADY, 1), 1.4),
    goal(STEADY, Some(1), CPU, Scheme(DEFER_DESTROY), 0.5),
    goal(STEADY, Some(2), CPU, Scheme(DEFER_DESTROY), 0.2),
    goal(HELD, None, TIME_AND_DRAIN, AnyPeer, 0.5),
    goal(HELD, None, WAITING, Nothing(Value::Share), 1.05),
    goal(FLOOD, None, DRAIN, Nothing(Value::Nanoseconds), FLOOD_NS),
    goal(FLOOD, None, LEFT, Nothing(Value::Share), 0.05),
    goal(kfree_twin::SPEC.name, None, PEAK, AboveOnOurs(IMMEDIATE), 8.0 * MIB),
    goal(SYNCHRONIZE, Some(1), WAIT, Nothing(Value::Nanoseconds), 10.0 * MICROSECOND),
    goal(SYNCHRONIZE, Some(2), WAIT, Nothing(Value::Nanoseconds), 50.0 * MICROSECOND),
    goal(synchronize::EXPEDITED.name, Some(2), WAIT, Ours(SYNCHRONIZE, 2), 0.5),
    goal(
        grace_threads::SPEC.name,
        Some(grace_threads::THREADS[1]),
        WAIT,
        Ours(grace_threads::SPEC.name, grace_threads::THREADS[0]),
        1.3,
    ),
];

const fn goal(workload: &'static str, threads: Option<usize>, figure: Figure, than: Than, most: f64) -> Goal {
    Goal { workload, threads, figure, than, most, stretch: None }
}

/// Holds the rows against all goals.
pub(crate) fn verdicts(rows: &[Row], seed: u64) -> Vec<Verdict> {
    GOALS.iter().flat_map(|goal| rows.iter().filter_map(move |row| goal.judge(row, rows, seed))).collect()
}

impl Goal {
    const fn or_better(self, stretch: f64) -> Self {
        Self { stretch: Some(stretch), ..self }
    }

    /// `None` if the row is another workload's, or lacks what is to be compared.
    fn judge(&self, row: &Row, rows: &[Row], seed: u64) -> Option<Verdict> {
        let is_meant = self.workload == row.workload && self.threads.is_none_or(|threads| threads == row.threads);
        let ours = row.ours().filter(|_| is_meant)?;
        let (what, value) = self.value(ours, row, rows, seed).filter(|(_, value)| !value.number().is_nan())?;
        let (workload, threads, goal, stretch) = (row.workload, row.threads, self.most, self.stretch);
        let is_met = value.number() <= goal;
        Some(Verdict { workload, threads, what, peer: None, value, goal, stretch, is_met })
    }

    /// In words, and as a number.
    fn value(&self, ours: &Series, row: &Row, rows: &[Row], seed: u64) -> Option<(String, Value)> {
        let Figure(what, figure) = self.figure;
        match self.than {
            Nothing(kind) => Some((what.to_owned(), kind(ours.median_of(figure)))),
            AboveOnOurs(scheme) => {
                let above = ours.median_of(figure) - row.on_ours(scheme)?.median_of(figure);
                Some((format!("{what} less that of {} {scheme}", ours.allocator), Value::Bytes(above)))
            }
            Scheme(_) | AnyPeer | OnOurs(_) | Ours(..) => {
                let ratio = to_best(ours, &self.than.whom(row, rows)?, figure, seed)?;
                let than = self.than.in_words(ratio.best_peer, ratio.scheme.unwrap_or_default());
                Some((format!("{what} by that of {than}"), ratio.ratio.into()))
            }
        }
    }
}

impl Than {
    /// Those of whom the best one is meant.
    fn whom<'a>(self, row: &'a Row, rows: &'a [Row]) -> Option<Vec<&'a Series>> {
        match self {
            Scheme(scheme) => Some(row.group(scheme)?.peers()),
            AnyPeer => Some(PEERS.iter().filter_map(|&scheme| row.group(scheme)).flat_map(|it| &it.series).collect()),
            OnOurs(scheme) | AboveOnOurs(scheme) => Some(vec![row.on_ours(scheme)?]),
            Ours(workload, threads) => {
                let is_it = |other: &&Row| other.workload == workload && other.threads == threads;
                Some(vec![rows.iter().find(is_it)?.ours()?])
            }
            Nothing(_) => None,
        }
    }

    fn in_words(self, allocator: &str, scheme: &str) -> String {
        match self {
            Ours(workload, threads) => format!("{workload} with {threads}"),
            _ => format!("{allocator} {scheme}"),
        }
    }
}

#[cfg(test)]
#[path = "deferral_tests.rs"]
mod tests;
