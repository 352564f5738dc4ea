//! The figures as tables, in Markdown so that they can be copied into documents.

mod allocation;
mod deferral;
mod goals;
mod readers;

use std::fmt::Write;

use alloc_bench::allocators::{Allocator, Home};
use alloc_bench::latency::Percentiles;
use alloc_bench::workloads::{Measures, Spec};
use alloc_bench::{allocators, schemes, statistics, workloads};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use super::goals::of_workload;
use super::report::{Report, Series, ToBest};

/// What can be measured.
pub(crate) fn list() -> String {
    let mut table = table(["workload", "goal", "measured", ""]);
    for spec in workloads::ALL {
        table.add_row([spec.name, &of_workload(spec.name), when(spec), spec.about]);
    }
    let mut ways = self::table(["scheme", ""]);
    for scheme in schemes::ALL {
        ways.add_row([scheme.name, scheme.about]);
    }
    let (main, more): (Vec<_>, Vec<_>) = allocators::ALL.iter().partition(|allocator| allocator.home == Home::Here);
    let names = |allocators: Vec<&Allocator>| allocators.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
    format!("{table}\n\n{ways}\n\nallocators: {}; if asked for: {}\n", names(main), names(more))
}

/// Whether a workload is measured by default, and what of it.
fn when(spec: &Spec) -> &'static str {
    match (spec.by_default, spec.measures) {
        (true, _) => "",
        (false, Measures::Memory) => "if asked for; memory",
        (false, _) => "if asked for",
    }
}

/// A table under its title.
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) table: Table,
}

/// All tables of a report that have a row.
pub(crate) fn sections(report: &Report) -> Vec<Section> {
    let mut all = allocation::sections(report);
    all.extend(deferral::sections(report));
    all.retain(|section| !section.table.is_empty());
    all
}

/// What is printed.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    for Section { title, table } in sections(report) {
        writeln!(text, "{title}\n\n{table}\n").expect("writing to a String");
    }
    match (text.is_empty(), report.interrupted) {
        (true, _) => "Nothing was finished.\n".to_owned(),
        (false, true) => format!("{INTERRUPTED}\n\n{text}"),
        (false, false) => text,
    }
}

/// Said above what was finished before Ctrl-C.
pub(crate) const INTERRUPTED: &str = "Interrupted: these are the whole rounds that were finished.";

fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header);
    table
}

/// The columns that [`comparison`] fills.
const COMPARISON: [&str; 3] = ["ours / best peer", "95 %", "best peer"];

fn comparison(to_best: Option<&ToBest>) -> [String; 3] {
    to_best.map_or(["–".to_owned(), String::new(), String::new()], |to| {
        let interval = format!("{:.2}–{:.2}", to.ratio.low, to.ratio.high);
        [format!("{:.2}", to.ratio.value), interval, to.best_peer.to_owned()]
    })
}

/// The median over the rounds of p50, p99, p99.9 and the longest step.
fn percentiles(series: &Series) -> Option<[f64; 4]> {
    let rounds: Vec<&Percentiles> = series.samples.iter().filter_map(|sample| sample.latency.as_ref()).collect();
    let of = |figure: fn(&Percentiles) -> u64| {
        statistics::median(&rounds.iter().map(|round| figure(round) as f64).collect::<Vec<_>>())
    };
    Some([of(|it| it.p50_ns)?, of(|it| it.p99_ns)?, of(|it| it.p999_ns)?, of(|it| it.max_ns)?])
}

/// Aligns the columns from this one on as figures are.
fn align_figures(table: &mut Table, from: usize) {
    table.column_iter_mut().skip(from).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
}

/// A time in the unit that suits it.
fn time(ns: f64) -> String {
    match ns {
        _ if ns < 1e3 => format!("{ns:.2} ns"),
        _ if ns < 1e6 => format!("{:.2} µs", ns / 1e3),
        _ => format!("{:.2} ms", ns / 1e6),
    }
}

fn bytes(bytes: f64) -> String {
    format!("{:.2} MiB", bytes / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_choose_their_unit() {
        assert_eq!(
            (time(8.414), time(8414.0), time(8_414_000.0)),
            ("8.41 ns".into(), "8.41 µs".into(), "8.41 ms".into())
        );
    }

    #[test]
    fn the_list_names_everything() {
        let list = list();
        assert!(workloads::ALL.iter().all(|spec| list.contains(spec.name)));
        assert!(schemes::ALL.iter().all(|scheme| list.contains(scheme.name)));
        assert!(allocators::ALL.iter().all(|allocator| list.contains(allocator.name)));
    }
}
