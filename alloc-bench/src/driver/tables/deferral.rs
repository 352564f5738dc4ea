//! The tables of workloads that retire objects: a line for each scheme, and what the kernel's test would print.

use alloc_bench::allocators;
use alloc_bench::protocol::Sample;
use alloc_bench::workloads::{Measures, kfree_twin};
use comfy_table::{CellAlignment, Table};

use super::{Section, align_figures, bytes, comparison, goals, percentiles, readers, table, time};
use crate::driver::deferral::{Group, Row};
use crate::driver::report::{Report, Series, ToBest};

/// Columns that say whose line it is.
const WHOSE: [&str; 3] = ["workload", "threads", "scheme"];
/// Columns that compare.
const COMPARISON: [&str; 3] = ["deferred_free / best peer", "95 %", "best peer"];

/// All of them; those without rows say nothing.
pub(super) fn sections(report: &Report) -> Vec<Section> {
    let rows = &report.deferral;
    let spread = |series: &Series| format!("{} ±{:.0}%", time(series.ns_per_op), series.ns_spread * 100.0);
    let titles = [
        "Deferral: time per operation and thread (median of rounds ± half the middle half)",
        "Deferral: processor time per operation, the drain's included (median of rounds)",
        "Deferral: peak memory (resident, median of rounds)",
        "Memory while all waits, and how it comes back (medians)",
        "Grace periods: single waits (medians of the rounds' percentiles)",
        "The kfree twin: all its loops, the drain after them, and single steps (medians)",
        "deferred_free and its goals",
    ];
    let tables = [
        compared(rows, spread, |group| group.time.as_ref()),
        compared(rows, |series| time(series.cpu_ns_per_op), |group| group.cpu.as_ref()),
        memory(rows),
        readers::waiting(rows),
        readers::waits(rows),
        twin(rows),
        goals::table(&report.deferral_goals),
    ];
    titles.into_iter().zip(tables).map(|(title, table)| Section { title, table }).collect()
}

/// The allocators that were measured with any scheme.
fn columns(rows: &[Row]) -> Vec<&'static str> {
    let is_there = |name: &str| {
        rows.iter().flat_map(|row| &row.schemes).any(|group| group.series.iter().any(|one| one.allocator == name))
    };
    allocators::ALL.iter().map(|allocator| allocator.name).filter(|name| is_there(name)).collect()
}

/// A table whose first columns say whose line it is.
fn figures(more: &[&str], after: &[&str]) -> Table {
    let mut table = table(WHOSE.iter().chain(more).chain(after).copied());
    align_figures(&mut table, WHOSE.len());
    table
}

/// A figure for each allocator, and ours by the best peer's.
fn compared(rows: &[Row], figure: impl Fn(&Series) -> String, to: impl Fn(&Group) -> Option<&ToBest>) -> Table {
    let columns = columns(rows);
    let mut table = figures(&columns, &COMPARISON);
    for (row, group) in timed(rows) {
        table.add_row(cells(row, group, &columns, &figure).into_iter().chain(comparison(to(group))));
    }
    table
}

fn memory(rows: &[Row]) -> Table {
    let columns = columns(rows);
    let mut table = figures(&columns, &[]);
    for (row, group) in timed(rows) {
        table.add_row(cells(row, group, &columns, |series| bytes(series.peak_bytes)));
    }
    table
}

/// A line for each scheme, in each row.
fn lines(rows: &[Row]) -> impl Iterator<Item = (&Row, &Group)> {
    rows.iter().flat_map(|row| row.schemes.iter().map(move |group| (row, group)))
}

/// Those whose time per operation says something.
fn timed(rows: &[Row]) -> impl Iterator<Item = (&Row, &Group)> {
    lines(rows).filter(|(row, _)| row.measures == Measures::Time)
}

/// A line for each allocator of each scheme: whose it is, and its figures.
pub(super) fn singles<'a>(
    rows: &'a [Row],
    is_meant: impl Fn(&Row) -> bool + 'a,
) -> impl Iterator<Item = (Vec<String>, &'a Series)> {
    let named = |row, group, series: &'a Series| whose(row, group).into_iter().chain([series.allocator.to_owned()]);
    lines(rows)
        .filter(move |(row, _)| is_meant(row))
        .flat_map(move |(row, group)| group.series.iter().map(move |it| (named(row, group, it).collect(), it)))
}

/// A table of such lines.
pub(super) fn table_of_singles(first: &[&str], more: &[&str]) -> Table {
    let mut table = figures(&[&["allocator"], first].concat(), more);
    table.column_iter_mut().skip(WHOSE.len()).take(1).for_each(|column| column.set_cell_alignment(CellAlignment::Left));
    table
}

fn whose(row: &Row, group: &Group) -> [String; 3] {
    [row.workload.to_owned(), row.threads.to_string(), group.scheme.to_owned()]
}

/// Whose line it is, and a figure for each allocator that has the scheme.
fn cells(row: &Row, group: &Group, columns: &[&str], figure: impl Fn(&Series) -> String) -> Vec<String> {
    let of = |name: &&str| group.series.iter().find(|series| series.allocator == *name).map_or(String::new(), &figure);
    whose(row, group).into_iter().chain(columns.iter().map(of)).collect()
}

/// What the kernel's test prints (time, grace periods), and what it does not.
fn twin(rows: &[Row]) -> Table {
    let after = ["p50", "p99", "p99.9", "longest", "grace periods", "peak backlog"];
    let mut table = table_of_singles(&["all loops", "drain"], &after);
    for (whose, series) in singles(rows, |row| row.workload == kfree_twin::SPEC.name) {
        table.add_row(whose.into_iter().chain(twin_figures(series)));
    }
    table
}

fn twin_figures(series: &Series) -> impl Iterator<Item = String> {
    let of = |figure: fn(&Sample) -> Option<u64>| series.median(figure);
    let steps = percentiles(series).map_or([None; 4], |steps| steps.map(Some));
    let times = [of(|it| Some(it.elapsed_ns)), of(|it| Some(it.drain_ns))].into_iter().chain(steps);
    let counted =
        [of(|it| it.grace_periods).map(|count| format!("{count:.0}")), of(|it| it.peak_backlog_bytes).map(bytes)];
    times.map(|it| it.map(time)).chain(counted).map(|it| it.unwrap_or_else(|| "–".to_owned()))
}
