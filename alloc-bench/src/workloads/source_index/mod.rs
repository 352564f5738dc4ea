//! The source index: a real program on real input.
//!
//! Threads take Rust source files from a shared counter, parse each with `syn`, collect its symbols, and publish them as
//! one flat [`table::Table`] in an [`Index`] that others read meanwhile under crossbeam-epoch; a table that is replaced
//! waits for its readers, with gracealloc by `deferred_free`, with its peers by `defer_destroy`. The files come round again and again, so tables are replaced all the time. After each file the
//! thread looks up some names, as an editor would.
//!
//! So the allocator sees what parsers do: millions of small boxes of many sizes, freed in bulk when a syntax tree is
//! dropped, and tables of some kilobytes that are freed later and often by another thread.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};

use self::index::Index;
use self::symbols::Symbol;
use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::corpus::Corpus;
use crate::latency::Latencies;
use crate::schemes::{DEFER_DESTROY, DEFERRED_FREE, UnderEpoch};

pub mod index;
pub mod symbols;
pub mod table;

/// One operation is one file: parsed, published, and the look-ups after it.
pub const SPEC: Spec = Spec {
    name: "source-index",
    about: "parse Rust sources with syn, publish tables of symbols, retire the old ones, look symbols up",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: true,
    needs_c: false,
    retires: Retires::ByFirst(&[DEFERRED_FREE, DEFER_DESTROY]),
    prepare,
};

/// How often a thread goes through as many files as there are, at scale 1.
const ROUNDS: f64 = 2.0;
/// Names that are looked up after each file.
const LOOKUPS: usize = 256;

fn prepare(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    let scheme = setup.scheme.context("this workload needs a scheme")?;
    let with_it = scheme.source_index.with_context(|| format!("`{}` has other readers than the index", scheme.name))?;
    with_it(setup)
}

/// Prepares it with the scheme `S`.
pub(crate) fn prepare_with<S: UnderEpoch>(setup: &Setup<'_>) -> Result<Box<dyn Workload>> {
    let list = setup.corpus.context("this workload needs a list of source files")?;
    let sources = Corpus::open(list)?.texts()?;
    Ok(Box::new(SourceIndex::<S>::new(setup, sources)?))
}

struct SourceIndex<S> {
    threads: usize,
    seed: u64,
    passes: Passes,
    sources: Vec<String>,
    queries: Vec<Query>,
    index: Index<S>,
    /// The next task, and how many there are in this pass.
    next: AtomicU64,
    end: AtomicU64,
}

/// A name to be looked up in the table of a file.
struct Query {
    file: usize,
    name: String,
}

impl<S: UnderEpoch> SourceIndex<S> {
    /// The warm-up goes through all files at least once, so that each has a table when the clock starts.
    fn new(setup: &Setup<'_>, sources: Vec<String>) -> Result<Self> {
        let queries = queries(&sources);
        ensure!(!queries.is_empty(), "no source defines a function");
        let files = sources.len() as u64;
        let warm_up = files.div_ceil(setup.threads as u64);
        let timed = ((files as f64 * ROUNDS * setup.scale) as u64).max(1);
        Ok(Self {
            threads: setup.threads,
            seed: setup.seed,
            passes: Passes { warm_up, timed },
            index: Index::new(sources.len()),
            sources,
            queries,
            next: AtomicU64::new(0),
            end: AtomicU64::new(0),
        })
    }

    /// Relaxed: the counter hands out numbers and orders nothing else.
    fn next_task(&self) -> Option<u64> {
        let task = self.next.fetch_add(1, Ordering::Relaxed);
        (task < self.end.load(Ordering::Relaxed)).then_some(task)
    }

    fn publish(&self, file: usize) {
        self.index.publish(file, parse(&self.sources[file]));
    }

    /// Looks up names that depend on the task alone, not on the thread that has it: the sum over all tasks is the same
    /// in every run.
    fn look_up(&self, task: u64) -> u64 {
        let mut random = fastrand::Rng::with_seed(self.seed ^ task);
        let mut found = || {
            let query = &self.queries[random.usize(..self.queries.len())];
            self.index.look_up(query.file, &query.name).map_or(1, |symbol| u64::from(symbol.ordinal) + 2)
        };
        (0..LOOKUPS).fold(0, |sum: u64, _| sum.wrapping_add(found()))
    }
}

/// The symbols of a file. Out of line, so that it is compiled here and not next to a child's own scheme, where the
/// child's global allocator would be inlined into the code that frees the syntax tree.
#[inline(never)]
fn parse(source: &str) -> Vec<Symbol> {
    symbols::of_file(&syn::parse_file(source).expect("the driver lists only files that parse"))
}

/// The functions that the texts seem to define. Some are not in the tables (a comment, a macro): look-ups miss, too.
fn queries(sources: &[String]) -> Vec<Query> {
    let name =
        |rest: &str| rest.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).next().map(str::to_owned);
    let names =
        |text: &str| text.split("fn ").skip(1).filter_map(name).filter(|name| !name.is_empty()).collect::<Vec<_>>();
    let of_file = |(file, text): (usize, &String)| names(text).into_iter().map(move |name| Query { file, name });
    sources.iter().enumerate().flat_map(of_file).collect()
}

impl<S: UnderEpoch> Workload for SourceIndex<S> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(Indexer(self))
    }

    fn begin(&self, ops: u64) {
        self.next.store(0, Ordering::Relaxed);
        self.end.store(ops * self.threads as u64, Ordering::Relaxed);
    }
}

struct Indexer<'a, S>(&'a SourceIndex<S>);

impl<S: UnderEpoch> Worker for Indexer<'_, S> {
    fn run(&mut self, _ops: u64, latencies: &mut Latencies) -> u64 {
        let mut sum: u64 = 0;
        while let Some(task) = self.0.next_task() {
            let file = (task % self.0.sources.len() as u64) as usize;
            latencies.time(|| self.0.publish(file));
            sum = sum.wrapping_add(self.0.look_up(task));
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::measure;
    use crate::schemes::defer_destroy::DeferDestroy;
    use crate::schemes::{EVERYWHERE, Linked};
    use crate::workloads::tests;

    fn run(threads: usize) -> u64 {
        let sources =
            (0..7).map(|n| format!("fn f{n}() {{}} struct S; impl S {{ fn g(&self) -> u32 {{ {n} }} }} // fn no"));
        let setup = Setup { scale: 5.0, ..tests::setup(threads, 3) };
        measure(&mut SourceIndex::<DeferDestroy>::new(&setup, sources.collect()).unwrap()).checksum
    }

    #[test]
    fn checksums_are_the_same_in_every_run() {
        assert_eq!(run(1), run(1));
        assert_eq!(run(2), run(2));
    }

    #[test]
    fn a_missing_list_is_an_error() {
        let error = |linked: &Linked| prepare(&Setup { scheme: Some(linked), ..tests::setup(1, 0) }).err().unwrap();
        for linked in EVERYWHERE {
            let expected = if linked.source_index.is_some() { "list of source files" } else { "other readers" };
            assert!(error(linked).to_string().contains(expected), "{}", linked.name);
        }
    }
}
