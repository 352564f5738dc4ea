//! The figures of workloads that retire objects: pairs of an allocator and a scheme, and `deferred_free` held against
//! all of them.

use alloc_bench::protocol::Sample;
use alloc_bench::schemes::DEFERRED_FREE;
use alloc_bench::workloads::Measures;
use serde::Serialize;

use super::report::{Series, ToBest, to_best};
use super::rounds::Measured;

/// A workload with a number of threads.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: &'static str,
    pub(crate) threads: usize,
    pub(crate) schemes: Vec<Group>,
    #[serde(skip)]
    pub(crate) measures: Measures,
}

/// One scheme on each allocator.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    pub(crate) scheme: &'static str,
    pub(crate) series: Vec<Series>,
    /// `deferred_free` by the best peer with this scheme (or by this scheme, where it was measured on our allocator alone):
    /// time per operation.
    pub(crate) time: Option<ToBest>,
    /// Likewise, processor time per operation.
    pub(crate) cpu: Option<ToBest>,
}

impl Row {
    /// Computes a row's figures.
    pub(crate) fn new(row: Measured, seed: u64) -> Self {
        let (workload, threads, measures) = (row.workload.name, row.threads, row.workload.measures);
        let series: Vec<Series> = row.series.into_iter().map(|(one, samples)| Series::new(one, samples)).collect();
        let ours = series.iter().find(|one| one.is_ours() && one.scheme == Some(DEFERRED_FREE));
        let groups = series.chunk_by(|one, other| one.scheme == other.scheme);
        let schemes = groups.map(|group| Group::new(group, ours, seed)).collect();
        Self { workload, threads, schemes, measures }
    }

    /// Ours with our scheme.
    pub(crate) fn ours(&self) -> Option<&Series> {
        self.on_ours(DEFERRED_FREE)
    }

    /// A scheme's figures, if it was measured.
    pub(crate) fn group(&self, scheme: &str) -> Option<&Group> {
        self.schemes.iter().find(|group| group.scheme == scheme)
    }

    /// Our allocator with a scheme.
    pub(crate) fn on_ours(&self, scheme: &str) -> Option<&Series> {
        self.group(scheme)?.series.iter().find(|series| series.is_ours())
    }
}

impl Group {
    fn new(series: &[Series], ours: Option<&Series>, seed: u64) -> Self {
        let scheme = series.first().and_then(|one| one.scheme).unwrap_or_default();
        let group = Self { scheme, series: series.to_vec(), time: None, cpu: None };
        let against = |figure| to_best(ours?, &group.peers(), figure, seed);
        let (time, cpu) = (against(Sample::ns_per_op), against(Sample::cpu_ns_per_op));
        Self { time, cpu, ..group }
    }

    /// Those that ours is compared with: on other allocators, or on ours if there are none.
    pub(crate) fn peers(&self) -> Vec<&Series> {
        let is_alone = self.scheme != DEFERRED_FREE && self.series.iter().all(Series::is_ours);
        self.series.iter().filter(|one| is_alone || !one.is_ours()).collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::contenders::Contender;
    use super::super::report::tests::samples;
    use super::*;
    use alloc_bench::workloads::{Spec, defer_steady};
    use alloc_bench::{allocators, schemes};

    /// Allocators with schemes, and as many nanoseconds and mebibytes as each takes.
    pub(crate) const FIGURES: &[(&str, &str, u64)] = &[
        ("gracealloc", "deferred_free", 12),
        ("gracealloc", "defer_destroy", 20),
        ("jemalloc", "defer_destroy", 40),
        ("system", "defer_destroy", 30),
        ("gracealloc", "immediate", 10),
        ("system", "immediate", 1),
    ];

    /// A row with such figures.
    pub(crate) fn row(workload: &'static Spec, threads: usize, figures: &[(&str, &str, u64)]) -> Row {
        let one = |&(allocator, scheme, figure): &(&str, &str, u64)| {
            let contender =
                Contender { allocator: allocators::find(allocator).unwrap(), scheme: schemes::find(scheme) };
            (contender, samples(figure, figure << 20))
        };
        Row::new(Measured { workload, threads, series: figures.iter().map(one).collect() }, 1)
    }

    /// A row of our allocator alone with one scheme, with this sample.
    pub(crate) fn of_samples(workload: &'static Spec, threads: usize, scheme: &str, sample: Sample) -> Row {
        let allocator = allocators::find("gracealloc").unwrap();
        let contender = Contender { allocator, scheme: schemes::find(scheme) };
        Row::new(Measured { workload, threads, series: vec![(contender, vec![sample; 3])] }, 1)
    }

    #[test]
    fn where_a_scheme_is_alone_ours_is_held_against_it() {
        let row = row(&defer_steady::SPEC, 1, &FIGURES[..2]);
        assert_eq!(row.schemes[1].time.as_ref().map(|to| to.ratio.value), Some(0.6));
        assert!(row.schemes[0].time.is_none());
    }

    #[test]
    fn ours_is_held_against_the_best_peer_with_each_scheme() {
        let row = row(&defer_steady::SPEC, 1, FIGURES);
        let of = |group: &Group| group.time.as_ref().map(|to| (to.best_peer, to.ratio.value));
        assert_eq!(
            row.schemes.iter().map(of).collect::<Vec<_>>(),
            [None, Some(("system", 0.4)), Some(("system", 12.0))]
        );
        assert_eq!(row.on_ours("immediate").map(|series| series.ns_per_op), Some(10.0));
        assert!(row.on_ours("leak").is_none());
    }

    #[test]
    fn without_ours_there_is_no_ratio() {
        assert!(row(&defer_steady::SPEC, 1, &FIGURES[1..]).schemes.iter().all(|group| group.time.is_none()));
    }
}
