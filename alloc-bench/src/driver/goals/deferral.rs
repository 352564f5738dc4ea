//! What `deferred_free` is to reach: it is compared with the best peer's `defer_destroy`, or with gracealloc's own
//! immediate free.

use alloc_bench::protocol::Sample;
use alloc_bench::schemes::{DEFER_DESTROY, DEFERRED_FREE, IMMEDIATE};
use alloc_bench::workloads::{defer_steady, kfree_twin};

use super::{Value, Verdict};
use crate::driver::deferral::Row;
use crate::driver::report::to_best;

/// What is good enough.
struct Goal {
    workload: &'static str,
    /// The number of threads that it is for, or any.
    threads: Option<usize>,
    figure: Figure,
    most: f64,
}

/// What is compared.
#[derive(Clone, Copy)]
enum Figure {
    /// Time, by that of the peer whose `defer_destroy` takes least.
    Time,
    /// Likewise, processor time.
    Cpu,
    /// Time, by that of the same allocator when it frees at once.
    TimeOverImmediate,
    /// Peak memory less that of the same allocator when it frees at once, in bytes.
    PeakAboveImmediate,
}

const GOALS: &[Goal] = &[
    steady(Some(1), Figure::Time, 0.4),
    steady(Some(2), Figure::Time, 0.15),
    steady(Some(1), Figure::Cpu, 0.5),
    steady(Some(2), Figure::Cpu, 0.2),
    steady(None, Figure::TimeOverImmediate, 1.6),
    Goal { workload: kfree_twin::SPEC.name, threads: None, figure: Figure::PeakAboveImmediate, most: 8.0 * MIB },
];

const MIB: f64 = 1024.0 * 1024.0;

const fn steady(threads: Option<usize>, figure: Figure, most: f64) -> Goal {
    Goal { workload: defer_steady::SPEC.name, threads, figure, most }
}

/// Holds the rows against all goals.
pub(crate) fn verdicts(rows: &[Row], seed: u64) -> Vec<Verdict> {
    GOALS.iter().flat_map(|goal| rows.iter().filter_map(move |row| goal.judge(row, seed))).collect()
}

impl Goal {
    /// `None` if the row is another workload's, or lacks what is to be compared.
    fn judge(&self, row: &Row, seed: u64) -> Option<Verdict> {
        let is_meant = self.workload == row.workload && self.threads.is_none_or(|threads| threads == row.threads);
        let (what, value) = self.figure.of(row, seed).filter(|_| is_meant)?;
        let is_met = value.number() <= self.most;
        let (workload, threads, goal) = (row.workload, row.threads, self.most);
        Some(Verdict { workload, threads, what, peer: None, value, goal, is_met })
    }
}

impl Figure {
    /// In words, and as a number.
    fn of(self, row: &Row, seed: u64) -> Option<(String, Value)> {
        let (ours, at_once) = (row.on_ours(DEFERRED_FREE)?, || row.on_ours(IMMEDIATE));
        let (what, to) = match self {
            Self::Time => ("time", row.group(DEFER_DESTROY)?.time.clone()?),
            Self::Cpu => ("processor time", row.group(DEFER_DESTROY)?.cpu.clone()?),
            Self::TimeOverImmediate => ("time", to_best(ours, &[at_once()?], Sample::ns_per_op, seed)?),
            Self::PeakAboveImmediate => {
                let above = ours.peak_bytes - at_once()?.peak_bytes;
                return Some((format!("peak memory less that of {} {IMMEDIATE}", ours.allocator), Value::Bytes(above)));
            }
        };
        let scheme = if matches!(self, Self::TimeOverImmediate) { IMMEDIATE } else { DEFER_DESTROY };
        let value = Value::Ratio { value: to.ratio.value, low: to.ratio.low, high: to.ratio.high };
        Some((format!("{what} by that of {} {scheme}", to.best_peer), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::deferral::tests::{FIGURES, row};
    use alloc_bench::workloads::Spec;

    fn judged(workload: &'static Spec, threads: usize) -> Vec<(String, f64, bool)> {
        let verdicts = verdicts(&[row(workload, threads, FIGURES)], 1).into_iter();
        verdicts.map(|verdict| (verdict.what, verdict.value.number(), verdict.is_met)).collect()
    }

    #[test]
    fn the_best_peer_and_our_own_immediate_free_are_the_measure() {
        let time = |met| ("time by that of system defer_destroy".to_owned(), 0.4, met);
        let cpu = |met| ("processor time by that of system defer_destroy".to_owned(), 0.4, met);
        let at_once = ("time by that of gracealloc immediate".to_owned(), 1.2, true);
        assert_eq!(judged(&defer_steady::SPEC, 1), [time(true), cpu(true), at_once.clone()]);
        assert_eq!(judged(&defer_steady::SPEC, 2), [time(false), cpu(false), at_once.clone()]);
        assert_eq!(judged(&defer_steady::SPEC, 3), [at_once]);
    }

    #[test]
    fn memory_is_a_difference() {
        let above = ("peak memory less that of gracealloc immediate".to_owned(), 2.0 * MIB, true);
        assert_eq!(judged(&kfree_twin::SPEC, 2), [above]);
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        for figures in [&FIGURES[..1], &FIGURES[1..]] {
            let rows = [row(&defer_steady::SPEC, 1, figures), row(&kfree_twin::SPEC, 1, figures)];
            assert!(verdicts(&rows, 1).is_empty());
        }
    }
}
