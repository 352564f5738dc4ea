//! What is measured. One file per workload; [`ALL`] is the registry.
//!
//! A workload is prepared once per process (its input is read there, before any clock), then asked for one
//! [`Worker`] per thread, in that thread. All allocators do the same operations in the same order: every random choice
//! comes from the seed, and the checksum of a pass depends on nothing else.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::latency::Latencies;
use crate::protocol::Kfree;
use crate::schemes::{self, Counters, Linked};

pub mod batch;
pub mod bleed;
pub mod boxed;
pub mod churn;
pub mod defer_held;
pub mod defer_steady;
pub mod direct;
pub mod first_touch;
pub mod grace_threads;
pub mod grow;
pub mod idle_threads;
pub mod kfree_twin;
pub mod large;
pub mod pair;
pub mod producer_consumer;
pub mod read_section;
pub mod shrink;
pub mod source_index;
pub mod synchronize;

/// Every workload, in the order of the tables.
pub static ALL: &[Spec] = &[
    pair::SPEC,
    direct::SPEC,
    boxed::SPEC,
    churn::SMALL,
    churn::WIDE,
    churn::LARGE,
    churn::HUGE,
    batch::SHORT,
    batch::LONG,
    producer_consumer::SMALL,
    producer_consumer::LARGE,
    bleed::SPEC,
    grow::VECTORS,
    grow::STRINGS,
    large::SPEC,
    first_touch::SPEC,
    source_index::SPEC,
    idle_threads::SPEC,
    shrink::SPEC,
    read_section::SPEC,
    defer_steady::SPEC,
    defer_held::SPEC,
    defer_held::FLOOD,
    kfree_twin::SPEC,
    synchronize::SPEC,
    synchronize::EXPEDITED,
    grace_threads::SPEC,
];

/// Finds a workload by its name.
pub fn find(name: &str) -> Option<&'static Spec> {
    ALL.iter().find(|spec| spec.name == name)
}

/// A workload as the registry knows it.
#[derive(Debug)]
pub struct Spec {
    /// As the command line and the tables call it.
    pub name: &'static str,
    /// One line for `--list`.
    pub about: &'static str,
    /// Whether it is measured unless others are asked for: those together take less than two minutes.
    pub by_default: bool,
    /// What of it is measured.
    pub measures: Measures,
    /// Whether [`Setup::corpus`] must be there.
    pub needs_corpus: bool,
    /// How it gives objects back that others may see.
    pub retires: Retires,
    /// Makes it ready to run.
    pub prepare: fn(&Setup<'_>) -> Result<Box<dyn Workload>>,
}

/// What of a workload is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measures {
    /// Time per operation, with each number of threads, and the process' peak memory.
    Time,
    /// Time of whole processes, by who starts them.
    Process,
    /// [`Workload::left_bytes`] alone: it arranges its threads and its times itself.
    Memory,
    /// Single waits of one thread, by their median: they are few, and the longest may be a thousand times as long.
    Waits,
    /// With one thread, what comes after the pass: how fast what waits is given back, and the memory that stays.
    Drain,
}

/// How a workload gives objects back that others may see, and so with which schemes it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retires {
    /// There are none: it frees.
    Nothing,
    /// With the first of these that the allocator has: one figure per allocator.
    ByFirst(&'static [&'static str]),
    /// Every scheme is measured on every allocator that has it: they are what the workload is for.
    ByEach,
    /// Likewise, of these.
    ByThose(&'static [&'static str]),
    /// These schemes, each with one allocator: it hardly matters which, ours if it is there.
    OnOne(&'static [&'static str]),
}

impl Retires {
    /// The schemes in question, the preferred one first.
    pub fn schemes(self) -> Vec<&'static schemes::Named> {
        match self {
            Self::Nothing => Vec::new(),
            Self::ByFirst(names) | Self::ByThose(names) | Self::OnOne(names) => {
                names.iter().filter_map(|name| schemes::find(name)).collect()
            }
            Self::ByEach => schemes::ALL.iter().collect(),
        }
    }

    /// Whether schemes are what is compared.
    pub fn is_by_scheme(self) -> bool {
        !matches!(self, Self::Nothing | Self::ByFirst(_))
    }
}

/// The scheme of a setup. Who has none is told what is missing.
pub(crate) fn scheme<'a>(setup: &Setup<'a>) -> Result<&'a Linked> {
    setup.scheme.context("this workload needs a scheme")
}

/// What a scheme can be asked for, or why not.
pub(crate) fn able<T>(setup: &Setup<'_>, ability: fn(&Linked) -> Option<T>) -> Result<T> {
    let scheme = scheme(setup)?;
    ability(scheme).with_context(|| format!("`{}` has not got what this workload measures", scheme.name))
}

/// How a workload is to run.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// Threads that share it.
    pub threads: usize,
    /// Factor on the number of operations.
    pub scale: f64,
    /// Start of all pseudo-random sequences.
    pub seed: u64,
    /// The list of source files.
    pub corpus: Option<&'a Path>,
    /// How objects are given back, where [`Spec::retires`] asks.
    pub scheme: Option<&'a Linked>,
    /// Parameters of the kfree twin.
    pub kfree: Kfree,
    /// Pairs of this child's allocator.
    pub direct: &'static dyn direct::Pairs,
}

impl Setup<'_> {
    /// Passes of `timed` operations at scale 1 and a quarter of that to warm up, in whole steps of `step`.
    pub fn passes(&self, timed: u64, step: u64) -> Passes {
        let steps = |ops: f64| ((ops * self.scale / step as f64).round() as u64).max(1) * step;
        Passes { warm_up: steps(timed as f64 / 4.0), timed: steps(timed as f64) }
    }

    /// A generator for one worker.
    pub fn random(&self, worker: usize) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed.wrapping_add((worker as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }
}

/// Operations of one thread in either pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Before the clock runs.
    pub warm_up: u64,
    /// While it runs.
    pub timed: u64,
}

impl Passes {
    /// Both, changed alike.
    pub fn map(self, change: impl Fn(u64) -> u64) -> Self {
        Self { warm_up: change(self.warm_up), timed: change(self.timed) }
    }
}

/// A workload, ready to run.
pub trait Workload: Sync {
    /// How many operations each thread does.
    fn passes(&self) -> Passes;

    /// How many workers it takes; mostly one per thread of the [`Setup`].
    fn workers(&self) -> usize;

    /// Makes worker `index`, in the thread that it will run in.
    fn worker(&self, index: usize) -> Box<dyn Worker + '_>;

    /// Called before each pass of `ops` operations per thread, while all workers wait.
    fn begin(&self, _ops: u64) {}

    /// Called after the timed pass, when all workers have ended: returns when nothing waits to be given back any more.
    fn drain(&mut self) {}

    /// Called after the drain: how long it takes until resident memory is again what it was, if it comes back at all.
    fn settle(&self) -> Option<Duration> {
        None
    }

    /// After all that: the resident memory in question, where this is what is measured.
    fn left_bytes(&self) -> Option<u64> {
        None
    }

    /// Likewise: the resident memory that the timed pass had added when everything it has retired waited.
    fn waiting_bytes(&self) -> Option<u64> {
        None
    }

    /// What its scheme says of itself, at this moment.
    fn counters(&self) -> Option<Counters> {
        None
    }
}

/// One thread's part of a workload. Its state lives through both passes.
pub trait Worker {
    /// Does `ops` operations and returns their checksum.
    fn run(&mut self, ops: u64, latencies: &mut Latencies) -> u64;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measure;

    /// A setup at a tiny scale.
    pub(super) fn setup(threads: usize, seed: u64) -> Setup<'static> {
        Setup {
            threads,
            scale: 1e-3,
            seed,
            corpus: None,
            scheme: None,
            kfree: Kfree::default(),
            direct: &direct::Direct(&std::alloc::System),
        }
    }

    /// Runs a workload at a tiny scale.
    pub(super) fn tiny(spec: &Spec, threads: usize, seed: u64) -> u64 {
        tiny_with(spec, threads, seed, None)
    }

    fn tiny_with(spec: &Spec, threads: usize, seed: u64, scheme: Option<&Linked>) -> u64 {
        let mut workload = (spec.prepare)(&Setup { scheme, ..setup(threads, seed) }).unwrap();
        measure(workload.as_mut()).checksum
    }

    #[test]
    fn checksums_are_the_same_in_every_run() {
        let is_plain = |spec: &&Spec| spec.retires == Retires::Nothing && spec.measures != Measures::Memory;
        for spec in ALL.iter().filter(is_plain) {
            for threads in [1, 2, 3] {
                assert_eq!(tiny(spec, threads, 5), tiny(spec, threads, 5), "{} x{threads}", spec.name);
            }
        }
    }

    #[test]
    fn checksums_are_the_same_with_every_scheme() {
        for spec in ALL.iter().filter(|spec| spec.retires.is_by_scheme()) {
            let is_meant = |linked: &&Linked| spec.retires.schemes().iter().any(|named| named.name == linked.name);
            for threads in [1, 2, 3] {
                let linked = schemes::EVERYWHERE.iter().filter(is_meant);
                let sums: Vec<u64> = linked.map(|scheme| tiny_with(spec, threads, 5, Some(scheme))).collect();
                assert!(sums.iter().all(|sum| *sum == sums[0]), "{} x{threads}: {sums:?}", spec.name);
            }
        }
    }

    #[test]
    fn without_its_scheme_a_workload_is_not_prepared() {
        for spec in ALL.iter().filter(|spec| spec.retires.is_by_scheme()) {
            assert!((spec.prepare)(&setup(1, 0)).is_err());
        }
    }

    #[test]
    fn a_workload_is_prepared_with_its_schemes_and_no_others() {
        for spec in ALL.iter().filter(|spec| spec.retires.is_by_scheme()) {
            let names: Vec<_> = spec.retires.schemes().iter().map(|named| named.name).collect();
            for linked in schemes::EVERYWHERE {
                let is_prepared = (spec.prepare)(&Setup { scheme: Some(linked), ..setup(1, 0) }).is_ok();
                assert_eq!(is_prepared, names.contains(&linked.name), "{} with {}", spec.name, linked.name);
            }
        }
    }

    #[test]
    fn the_schemes_of_workloads_exist() {
        for spec in ALL {
            if let Retires::ByFirst(names) = spec.retires {
                assert_eq!(spec.retires.schemes().len(), names.len(), "{}", spec.name);
            }
        }
    }

    #[test]
    fn memory_is_told_by_those_workloads_that_measure_it() {
        for spec in ALL.iter().filter(|spec| spec.retires == Retires::Nothing) {
            let mut workload = (spec.prepare)(&setup(1, 0)).unwrap();
            let is_told = measure(workload.as_mut()).left_bytes.is_some();
            assert_eq!(is_told, spec.measures == Measures::Memory, "{}", spec.name);
        }
    }

    #[test]
    fn names_are_unique() {
        assert!(ALL.iter().all(|spec| std::ptr::eq(find(spec.name).unwrap(), spec)));
    }

    #[test]
    fn passes_are_whole_steps_and_never_empty() {
        let setup = setup(1, 0);
        assert_eq!(setup.passes(100, 10), Passes { warm_up: 10, timed: 10 });
        assert_eq!(Setup { scale: 2.0, ..setup }.passes(100, 10), Passes { warm_up: 50, timed: 200 });
    }
}
