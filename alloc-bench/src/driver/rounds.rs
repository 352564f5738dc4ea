//! Starts the children in turn.
//!
//! Row by row, and within a row round by round. Each round measures every contender once, and each begins with another
//! one (A B C, B C A, C A B), so that nobody is always the first.

use std::collections::HashMap;
use std::path::Path;
use std::time::Instant;

use alloc_bench::protocol::{Request, Sample};
use alloc_bench::workloads::Spec;
use anyhow::{Result, ensure};

use super::children::Children;
use super::contenders::{self, Contender};
use super::options::Options;
use super::progress::Progress;
use super::{measurement, stopped};

/// A workload with a number of threads, and each contender's samples in the order of rounds.
pub(crate) struct Measured {
    pub(crate) workload: &'static Spec,
    pub(crate) threads: usize,
    pub(crate) series: Vec<(Contender, Vec<Sample>)>,
}

/// Measures everything that the options ask for. The rows are those with at least one whole round, also after Ctrl-C or
/// an error.
pub(crate) fn run(options: &Options, children: &Children, sources: Option<&Path>) -> (Vec<Measured>, Result<()>) {
    let mut rows = Vec::new();
    for workload in options.workloads() {
        rows.extend(options.threads(workload).iter().map(|&threads| Measured::none_yet(workload, threads, options)));
    }
    let contenders: usize = rows.iter().map(|row| row.series.len()).sum();
    let progress = Progress::start(u64::from(options.rounds()) * contenders as u64);
    let outcome = rows.iter_mut().try_for_each(|row| row.measure(options, children, sources, &progress));
    rows.retain_mut(|row| row.keep_whole_rounds() > 0);
    (rows, outcome)
}

impl Measured {
    fn none_yet(workload: &'static Spec, threads: usize, options: &Options) -> Self {
        let series = contenders::of(workload, options).into_iter().map(|contender| (contender, Vec::new())).collect();
        Self { workload, threads, series }
    }

    /// Does all rounds of this row, or fewer if Ctrl-C is pressed.
    fn measure(
        &mut self,
        options: &Options,
        children: &Children,
        sources: Option<&Path>,
        progress: &Progress,
    ) -> Result<()> {
        let start = Instant::now();
        progress.row(self.workload.name, self.threads);
        for round in 0..options.rounds() as usize {
            for turn in rotated(self.series.len(), round) {
                if stopped() {
                    return Ok(());
                }
                let request = self.request(self.series[turn].0, options, sources);
                let (contender, samples) = &mut self.series[turn];
                samples.push(measurement::take(self.workload, children.program(contender.allocator), &request)?);
                progress.step();
            }
            self.check()?;
        }
        progress.row_done(start.elapsed());
        Ok(())
    }

    fn request(&self, contender: Contender, options: &Options, sources: Option<&Path>) -> Request {
        Request {
            workload: self.workload.name.to_owned(),
            threads: self.threads,
            scale: options.scale(),
            seed: options.seed,
            corpus: sources.filter(|_| self.workload.needs_corpus).map(Path::to_owned),
            scheme: contender.scheme.map(|scheme| scheme.name.to_owned()),
            kfree: options.kfree(),
        }
    }

    /// All samples of as many operations must have the same checksum: the operations are the same. (Only leaks do fewer.)
    fn check(&self) -> Result<()> {
        let mut expected = HashMap::new();
        let samples = self.series.iter().flat_map(|(contender, samples)| samples.iter().map(move |it| (contender, it)));
        for (contender, sample) in samples {
            let (first, checksum) = expected.entry(sample.ops).or_insert((contender, sample.checksum));
            ensure!(
                sample.checksum == *checksum,
                "{} with {} threads: {} and {} came to different checksums, so one of them has lost or changed data",
                self.workload.name,
                self.threads,
                first.allocator.name,
                contender.allocator.name
            );
        }
        Ok(())
    }

    /// Drops what belongs to an unfinished round, and returns how many are left.
    fn keep_whole_rounds(&mut self) -> usize {
        let whole = self.series.iter().map(|(_, samples)| samples.len()).min().unwrap_or(0);
        self.series.iter_mut().for_each(|(_, samples)| samples.truncate(whole));
        whole
    }
}

/// Who comes when: `0..count`, beginning with another one each round.
fn rotated(count: usize, round: usize) -> impl Iterator<Item = usize> {
    (0..count).map(move |turn| (turn + round) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_begins_with_another_contender() {
        let order = |round| rotated(3, round).collect::<Vec<_>>();
        assert_eq!((order(0), order(1), order(3)), (vec![0, 1, 2], vec![1, 2, 0], vec![0, 1, 2]));
    }
}
