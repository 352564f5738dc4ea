//! The figures, computed from the samples; serialized as they are, this is the JSON file.
//!
//! Units: nanoseconds and bytes. `format` grows when a field changes its meaning or goes away; new fields may come.

mod memory;
mod row;

use std::collections::BTreeMap;

use alloc_bench::corpus::Corpus;
use alloc_bench::protocol::Kfree;
use serde::Serialize;

use super::deferral;
use super::goals::{self, Verdict};
use super::machine::{self, Machine};
use super::options::Options;
use super::rounds::Measured;
use super::stopped;

pub(crate) use self::memory::Memory;
#[cfg(test)]
pub(crate) use self::row::tests;
pub(crate) use self::row::{Row, Series, ToBest, to_best};

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
    pub(crate) goals: Vec<Verdict>,
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

impl Report {
    /// Computes the figures.
    pub(crate) fn new(
        options: &Options,
        versions: BTreeMap<String, String>,
        sources: Option<Corpus>,
        rows: Vec<Measured>,
    ) -> Self {
        let (deferral, plain): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.workload.retires.is_by_scheme());
        let rows: Vec<Row> = plain.into_iter().map(|row| Row::new(row, options.seed)).collect();
        let deferral: Vec<_> = deferral.into_iter().map(|row| deferral::Row::new(row, options.seed)).collect();
        Self {
            format: 3,
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
            goals: goals::of_rows(&rows, options.ground(), options.seed),
            rows,
            kfree: options.kfree(),
            deferral_goals: goals::of_deferral(&deferral, options.seed),
            deferral,
        }
    }

    /// When, where and with what this was measured, in a few lines.
    pub(crate) fn origin(&self) -> String {
        let list = |pairs: &BTreeMap<String, String>, sign| {
            pairs.iter().map(|(name, value)| format!("{name}{sign}{value}")).collect::<Vec<_>>().join(", ")
        };
        let day = self.date.split('T').next().unwrap_or_default();
        let (rounds, scale, seed) = (self.rounds, self.scale, self.seed);
        let run = format!("{day}, {}; {rounds} rounds, scale {scale}, seed {seed}.", self.machine.in_words());
        let tuning =
            if self.tuning.is_empty() { "".to_owned() } else { format!(" Tuned: {}.", list(&self.tuning, "=")) };
        format!("{run} {}.{tuning}", list(&self.versions, " "))
    }
}
