//! What allocating and freeing is to reach.

use alloc_bench::protocol::Sample;
use alloc_bench::workloads::{
    batch, bleed, boxed, churn, direct, first_touch, grow, idle_threads, large, pair, producer_consumer, shrink,
    source_index,
};

use super::{Ground, Value, Verdict};
use crate::driver::report::{Row, ToBest, to_best};

/// The greatest geometric mean of the ratios of peak memory to the best peer's, row by row.
pub(crate) const MEMORY_MEAN: f64 = 1.0;
/// The greatest single one of those ratios.
pub(crate) const MEMORY_WORST: f64 = 1.25;

/// What is good enough.
#[derive(Clone, Copy)]
struct Goal {
    workload: &'static str,
    figure: Figure,
    most: f64,
    threads: usize,
}

/// What is compared.
#[derive(Clone, Copy)]
enum Figure {
    /// Time, by that of the best peer of the run.
    Time,
    /// Time, by that of this peer.
    TimeOf(&'static str),
    /// Memory that the workload leaves, by that of the best peer. Every peer so far has caches for each thread.
    Left,
    /// Memory that the workload leaves, by its own peak.
    LeftOfPeak,
}

use Figure::{Left, LeftOfPeak, Time, TimeOf};

const GOALS: &[Goal] = &[
    goal(pair::SPEC.name, Time, 0.9),
    goal(pair::SPEC.name, TimeOf("jemalloc"), 0.6),
    goal(pair::SPEC.name, TimeOf("mimalloc"), 0.6),
    goal(boxed::SPEC.name, Time, 0.9),
    goal(boxed::SPEC.name, TimeOf("jemalloc"), 0.6),
    goal(boxed::SPEC.name, TimeOf("mimalloc"), 0.6),
    goal(churn::SMALL.name, Time, 0.85),
    goal(churn::WIDE.name, Time, 0.85),
    goal(churn::LARGE.name, Time, 1.0),
    goal(churn::HUGE.name, Time, 1.0),
    goal(batch::SHORT.name, Time, 0.9),
    goal(batch::LONG.name, Time, 0.9),
    goal(producer_consumer::SMALL.name, Time, 0.8),
    goal(producer_consumer::LARGE.name, Time, 0.8),
    goal(bleed::SPEC.name, Time, 0.9),
    goal(grow::VECTORS.name, Time, 1.0),
    goal(grow::STRINGS.name, Time, 1.0),
    goal(large::SPEC.name, TimeOf("jemalloc"), 1.05),
    goal(first_touch::SPEC.name, TimeOf("jemalloc"), 1.05),
    goal(source_index::SPEC.name, Time, 0.97),
    goal(idle_threads::SPEC.name, Left, 0.5),
    goal(shrink::SPEC.name, LeftOfPeak, 0.05),
];

const fn goal(workload: &'static str, figure: Figure, most: f64) -> Goal {
    Goal { workload, figure, most, threads: 1 }
}

/// The goals on this ground. Try-locks are to keep up with peers, not to win, and to leave musl's own allocator behind where
/// there is more than one thread.
fn goals(ground: Ground) -> Vec<Goal> {
    let kept_up = |goal: &Goal| matches!(goal.figure, Time).then_some(Goal { most: 1.5, ..*goal });
    let slower = |goal: Goal| Goal { figure: TimeOf("system"), most: 0.5, threads: 2, ..goal };
    match ground {
        Ground::Sections => GOALS.to_vec(),
        Ground::Fallback => GOALS.iter().filter_map(kept_up).collect(),
        Ground::Musl => GOALS.iter().filter_map(kept_up).flat_map(|goal| [goal, slower(goal)]).collect(),
    }
}

/// Holds the rows against all goals, row by row.
pub(crate) fn verdicts(rows: &[Row], ground: Ground, seed: u64) -> Vec<Verdict> {
    let goals = goals(ground);
    let judged = rows.iter().flat_map(|row| goals.iter().filter_map(move |goal| goal.judge(row, seed)));
    judged
        .chain(rows.iter().filter_map(|row| to_limit(row, rows, seed).filter(|_| ground == Ground::Sections)))
        .collect()
}

/// The most that a pair may take by one of the bare slot.
const LIMIT: f64 = 1.3;

/// Our pair by the same without the way to it.
fn to_limit(row: &Row, rows: &[Row], seed: u64) -> Option<Verdict> {
    let limit = rows.iter().find(|limit| limit.workload == direct::SPEC.name && limit.threads == row.threads)?;
    let ratio = to_best(row.ours()?, &[limit.ours()?], Sample::ns_per_op, seed)?.ratio;
    let (value, is_met, stretch) = (ratio.into(), ratio.value <= LIMIT, None);
    let (workload, threads, what) = (row.workload, row.threads, format!("time by that of {}", limit.workload));
    (workload == pair::SPEC.name).then_some(Verdict {
        workload,
        threads,
        what,
        peer: None,
        value,
        goal: LIMIT,
        stretch,
        is_met,
    })
}

/// A workload's goals in words.
pub(crate) fn of_workload(workload: &str) -> String {
    let words = |goal: &Goal| match goal.figure {
        TimeOf(peer) => format!("≤ {} of {peer}", goal.most),
        LeftOfPeak => format!("≤ {} of its peak", goal.most),
        Time | Left => format!("≤ {}", goal.most),
    };
    GOALS.iter().filter(|goal| goal.workload == workload).map(words).collect::<Vec<_>>().join(", ")
}

impl Goal {
    /// `None` if the row is another workload's, has too few threads, or lacks what is to be compared.
    fn judge(&self, row: &Row, seed: u64) -> Option<Verdict> {
        let is_meant = self.workload == row.workload && row.threads >= self.threads;
        let (what, value) = self.figure.of(row, seed).filter(|_| is_meant)?;
        let peer = if let TimeOf(peer) = self.figure { Some(peer) } else { None };
        let is_met = value.number() <= self.most;
        let (workload, threads, goal) = (row.workload, row.threads, self.most);
        Some(Verdict { workload, threads, what, peer, value, goal, stretch: None, is_met })
    }
}

impl Figure {
    /// In words, and as a number.
    fn of(self, row: &Row, seed: u64) -> Option<(String, Value)> {
        let (what, to): (_, ToBest) = match self {
            Time => ("time by that of the best peer", row.time.clone()?),
            TimeOf(peer) => ("time by that of", to_best(row.ours()?, &[row.of(peer)?], Sample::ns_per_op, seed)?),
            Left => ("memory left by that of the best peer", row.left.clone()?),
            LeftOfPeak => {
                let ours = row.ours()?;
                return Some((
                    "memory left, of its own peak".to_owned(),
                    Value::Share(ours.left_bytes? / ours.peak_bytes),
                ));
            }
        };
        Some((format!("{what}, {}", to.best_peer).replace("of, ", "of "), to.ratio.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::report::tests::{left, row};

    fn judged(rows: &[Row]) -> Vec<(String, f64, bool)> {
        let short = |verdict: Verdict| (verdict.what, verdict.value.number(), verdict.is_met);
        verdicts(rows, Ground::Sections, 1).into_iter().map(short).collect()
    }

    #[test]
    fn the_best_peer_and_named_peers_are_the_measure() {
        // 6 ns, 8 ns and 12 ns; mimalloc was not measured.
        let best = ("time by that of the best peer, jemalloc".to_owned(), 0.75, true);
        let jemalloc = ("time by that of jemalloc".to_owned(), 0.75, false);
        assert_eq!(judged(&[row("pair-64", [1, 1, 1])]), [best, jemalloc]);
    }

    #[test]
    fn memory_that_is_left_is_held_against_peers_or_the_peak() {
        let threads = ("memory left by that of the best peer, system".to_owned(), 0.25, true);
        let shrunk = ("memory left, of its own peak".to_owned(), 0.1, false);
        assert_eq!(
            judged(&[left("idle-threads-2000", [10, 90, 40]), left("shrink-1g", [10, 90, 40])]),
            [threads, shrunk]
        );
    }

    #[test]
    fn what_was_not_measured_is_not_judged() {
        assert!(judged(&[]).is_empty());
        assert!(judged(&[row("first-touch", [1, 1, 1])]).iter().all(|(what, ..)| what.contains("jemalloc")));
    }

    #[test]
    fn the_pair_is_held_against_the_bare_slot() {
        let limit = judged(&[row("pair-64", [1, 1, 1]), row("direct-64", [1, 1, 1])]).pop();
        assert_eq!(limit, Some(("time by that of direct-64".to_owned(), 1.0, true)));
    }

    #[test]
    fn try_locks_have_goals_of_their_own() {
        let judged = |ground| verdicts(&[row("pair-64", [1, 1, 1])], ground, 1);
        let goals = |ground| judged(ground).iter().map(|one| (one.peer, one.goal)).collect::<Vec<_>>();
        assert_eq!(goals(Ground::Fallback), [(None, 1.5)]);
        assert_eq!(goals(Ground::Musl), [(None, 1.5)], "with one thread");
        let two = super::goals(Ground::Musl).into_iter().filter(|goal| goal.threads == 2);
        assert!(two.map(|goal| goal.most).all(|most| most == 0.5));
    }

    #[test]
    fn goals_are_of_workloads_that_there_are() {
        assert!(GOALS.iter().all(|goal| alloc_bench::workloads::find(goal.workload).is_some()));
        assert_eq!(of_workload("pair-64"), "≤ 0.9, ≤ 0.6 of jemalloc, ≤ 0.6 of mimalloc");
        assert_eq!(of_workload("kfree-twin"), "");
    }
}
