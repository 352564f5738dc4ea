//! The figures as tables, in Markdown so that they can be copied into documents.

mod deferral;

use std::fmt::Write;

use alloc_bench::allocators::{Allocator, Home};
use alloc_bench::latency::Percentiles;
use alloc_bench::{allocators, schemes, statistics, workloads};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

use super::report::{Memory, Report, Row, Series, ToBest};

/// What can be measured.
pub(crate) fn list() -> String {
    let mut table = table(["workload", "goal", ""]);
    for spec in workloads::ALL {
        table.add_row([
            spec.name.to_owned(),
            spec.goal.map_or(String::new(), |goal| format!("≤ {goal:.1}")),
            spec.about.to_owned(),
        ]);
    }
    let mut ways = self::table(["scheme", ""]);
    for scheme in schemes::ALL {
        ways.add_row([scheme.name, scheme.about]);
    }
    let (main, more): (Vec<_>, Vec<_>) = allocators::ALL.iter().partition(|allocator| allocator.home == Home::Here);
    let names = |allocators: Vec<&Allocator>| allocators.iter().map(|it| it.name).collect::<Vec<_>>().join(", ");
    format!("{table}\n\n{ways}\n\nallocators: {}; if asked for: {}\n", names(main), names(more))
}

/// All tables of a report.
pub(crate) fn render(report: &Report) -> String {
    if report.rows.is_empty() && report.deferral.is_empty() {
        return "Nothing was finished.\n".to_owned();
    }
    let mut text = String::new();
    if report.interrupted {
        text += "Interrupted: these are the whole rounds that were finished.\n\n";
    }
    plain(&mut text, report);
    deferral::render(&mut text, report);
    text
}

/// The tables with a column for each allocator.
fn plain(text: &mut String, report: &Report) {
    let Some(first) = report.rows.first() else {
        return;
    };
    let allocators: Vec<_> = first.series.iter().map(|series| series.allocator).collect();
    section(
        text,
        "Time per operation and thread (median of rounds ± half the middle half)",
        &times(report, &allocators),
    );
    section(text, "Peak memory (resident, median of rounds)", &memory(report, &allocators));
    section(text, "Processor time per operation (median of rounds)", &cpu(report, &allocators));
    section(text, "Time of single steps (medians of the rounds' percentiles)", &latencies(report));
}

/// A table under its title; nothing if it has no rows.
fn section(text: &mut String, title: &str, table: &Table) {
    if !table.is_empty() {
        writeln!(text, "{title}\n\n{table}\n").expect("writing to a String");
    }
}

fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(header);
    table
}

/// A table whose first column is words and whose others are figures.
fn figures<'a>(allocators: &[&'a str], more: &[&'a str]) -> Table {
    let header = ["workload", "threads"].into_iter().chain(allocators.iter().copied()).chain(more.iter().copied());
    let mut table = table(header);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// A row's name, its threads, and one figure per allocator.
fn cells(row: &Row, figure: impl Fn(&Series) -> String) -> Vec<String> {
    let name = [row.workload.to_owned(), row.threads.to_string()];
    name.into_iter().chain(row.series.iter().map(figure)).collect()
}

/// The columns that [`comparison`] fills.
const COMPARISON: [&str; 3] = ["ours / best peer", "95 %", "best peer"];

/// Those, and the goal.
fn with_goal() -> Vec<&'static str> {
    COMPARISON.into_iter().chain(["goal"]).collect()
}

fn comparison(to_best: Option<&ToBest>) -> [String; 3] {
    to_best.map_or(["–".to_owned(), String::new(), String::new()], |to| {
        let interval = format!("{:.2}–{:.2}", to.ratio.low, to.ratio.high);
        [format!("{:.2}", to.ratio.value), interval, to.best_peer.to_owned()]
    })
}

fn times(report: &Report, allocators: &[&str]) -> Table {
    let mut table = figures(allocators, &with_goal());
    for row in &report.rows {
        let mut line = cells(row, |series| format!("{} ±{:.0}%", time(series.ns_per_op), series.ns_spread * 100.0));
        line.extend(comparison(row.time.as_ref()));
        line.push(verdict(row.goal, row.time.as_ref().map(|to| to.ratio.value)));
        table.add_row(line);
    }
    table
}

fn memory(report: &Report, allocators: &[&str]) -> Table {
    let mut table = figures(allocators, &with_goal());
    for row in &report.rows {
        let line = cells(row, |series| bytes(series.peak_bytes));
        table.add_row(line.into_iter().chain(comparison(row.memory.as_ref())));
    }
    table.add_row(mean_memory(&report.memory, allocators));
    table
}

/// The last line of the memory table: the one that the goal is for.
fn mean_memory(memory: &Memory, allocators: &[&str]) -> Vec<String> {
    let mean = |name: &&str| memory.geometric_mean_bytes.get(name).map_or(String::new(), |&mean| bytes(mean));
    let mut line = vec!["geometric mean of the bar".to_owned(), String::new()];
    line.extend(allocators.iter().map(mean));
    line.push(memory.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
    line.push(String::new());
    line.push(memory.best_peer.unwrap_or_default().to_owned());
    line.push(verdict(Some(memory.goal), memory.ratio));
    line
}

fn cpu(report: &Report, allocators: &[&str]) -> Table {
    let mut table = figures(allocators, &COMPARISON);
    for row in &report.rows {
        let line = cells(row, |series| time(series.cpu_ns_per_op));
        table.add_row(line.into_iter().chain(comparison(row.cpu.as_ref())));
    }
    table
}

fn latencies(report: &Report) -> Table {
    let mut table = table(["workload", "threads", "allocator", "p50", "p99", "p99.9", "longest"]);
    table.column_iter_mut().skip(3).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    for row in &report.rows {
        for series in &row.series {
            let Some(percentiles) = percentiles(series) else {
                continue;
            };
            let name = [row.workload.to_owned(), row.threads.to_string(), series.allocator.to_owned()];
            table.add_row(name.into_iter().chain(percentiles.map(time)));
        }
    }
    table
}

/// The median over the rounds of p50, p99, p99.9 and the longest step.
fn percentiles(series: &Series) -> Option<[f64; 4]> {
    let rounds: Vec<&Percentiles> = series.samples.iter().filter_map(|sample| sample.latency.as_ref()).collect();
    let of = |figure: fn(&Percentiles) -> u64| {
        statistics::median(&rounds.iter().map(|round| figure(round) as f64).collect::<Vec<_>>())
    };
    Some([of(|it| it.p50_ns)?, of(|it| it.p99_ns)?, of(|it| it.p999_ns)?, of(|it| it.max_ns)?])
}

/// `≤ 1.0 met`, or nothing where there is no goal.
fn verdict(goal: Option<f64>, ratio: Option<f64>) -> String {
    match (goal, ratio) {
        (None, _) => String::new(),
        (Some(goal), None) => format!("≤ {goal:.1}"),
        (Some(goal), Some(ratio)) => format!("≤ {goal:.1} {}", if ratio <= goal { "met" } else { "missed" }),
    }
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
    fn a_ratio_is_held_against_its_goal() {
        assert_eq!(verdict(Some(0.8), Some(0.8)), "≤ 0.8 met");
        assert_eq!(verdict(Some(0.8), Some(0.801)), "≤ 0.8 missed");
        assert_eq!(verdict(None, Some(1.0)), "");
    }

    #[test]
    fn the_list_names_everything() {
        let list = list();
        assert!(workloads::ALL.iter().all(|spec| list.contains(spec.name)));
        assert!(schemes::ALL.iter().all(|scheme| list.contains(scheme.name)));
        assert!(allocators::ALL.iter().all(|allocator| list.contains(allocator.name)));
    }
}
