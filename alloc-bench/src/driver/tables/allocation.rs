//! The tables with a column for each allocator, and their goals.

use alloc_bench::statistics::Ratio;
use comfy_table::Table;

use super::{COMPARISON, Section, align_figures, bytes, comparison, goals, percentiles, table, time};
use crate::driver::report::{Memory, Report, Row, Series, ToBest};

/// Nothing, if no such workload was measured.
pub(super) fn sections(report: &Report) -> Vec<Section> {
    let Some(first) = report.rows.first() else {
        return Vec::new();
    };
    let columns: Vec<_> = first.series.iter().map(|series| series.allocator).collect();
    let titles = [
        "Time per operation and thread (median of rounds ± half the middle half)",
        "Peak memory (resident, median of rounds)",
        "Memory that is left (resident, median of rounds)",
        "Processor time per operation (median of rounds)",
        "Time of single steps (medians of the rounds' percentiles)",
        "gracealloc and its goals",
    ];
    let tables = [
        times(report, &columns),
        memory(report, &columns),
        left(report, &columns),
        cpu(report, &columns),
        latencies(report),
        goals::table(&report.goals),
    ];
    titles.into_iter().zip(tables).map(|(title, table)| Section { title, table }).collect()
}

/// A table whose first column is words and whose others are figures.
fn figures<'a>(allocators: &[&'a str], more: &[&'a str]) -> Table {
    let header = ["workload", "threads"].into_iter().chain(allocators.iter().copied()).chain(more.iter().copied());
    let mut table = table(header);
    align_figures(&mut table, 1);
    table
}

/// A row's name, its threads, and one figure per allocator.
fn cells(row: &Row, figure: impl Fn(&Series) -> String) -> Vec<String> {
    let name = [row.workload.to_owned(), row.threads.to_string()];
    name.into_iter().chain(row.series.iter().map(figure)).collect()
}

/// The columns that [`judged`] fills.
const JUDGED: [&str; 5] = [COMPARISON[0], COMPARISON[1], COMPARISON[2], "", "goal"];

/// The comparison in figures, in a word, and what was to be reached.
fn judged(to: Option<&ToBest>, goal: String) -> impl Iterator<Item = String> {
    let word = to.map_or("", |to| word(&to.ratio)).to_owned();
    comparison(to).into_iter().chain([word, goal])
}

/// What an interval says: only one without 1 in it decides anything. That of a single round is none.
fn word(ratio: &Ratio) -> &'static str {
    match () {
        () if ratio.low == ratio.high => "open",
        () if ratio.high < 1.0 => "won",
        () if ratio.low > 1.0 => "lost",
        () => "open",
    }
}

/// Rows whose time is measured.
fn timed(report: &Report) -> impl Iterator<Item = &Row> {
    report.rows.iter().filter(|row| row.is_timed())
}

fn times(report: &Report, allocators: &[&str]) -> Table {
    let mut table = figures(allocators, &JUDGED);
    for row in timed(report) {
        let line = cells(row, |series| format!("{} ±{:.0}%", time(series.ns_per_op), series.ns_spread * 100.0));
        let goal = goals::of_row(&report.goals, row.workload, row.threads);
        table.add_row(line.into_iter().chain(judged(row.time.as_ref(), goal)));
    }
    table
}

fn memory(report: &Report, allocators: &[&str]) -> Table {
    let mut table = figures(allocators, &JUDGED);
    for row in timed(report) {
        let line = cells(row, |series| bytes(series.peak_bytes));
        let ratio = row.memory.as_ref().map(|to| to.ratio.value);
        table.add_row(line.into_iter().chain(judged(row.memory.as_ref(), within(report.memory.worst_goal, ratio))));
    }
    if !table.is_empty() {
        table.add_row(mean_memory(&report.memory, allocators));
    }
    table
}

/// The last line of the memory table: the mean of the allocators' columns, and that of the ratios above it.
fn mean_memory(memory: &Memory, allocators: &[&str]) -> Vec<String> {
    let mean = |name: &&str| memory.geometric_mean_bytes.get(name).map_or(String::new(), |&mean| bytes(mean));
    let mut line = vec!["geometric mean".to_owned(), String::new()];
    line.extend(allocators.iter().map(mean));
    line.push(memory.ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
    line.extend([String::new(), String::new(), String::new(), within(memory.goal, memory.ratio)]);
    line
}

fn left(report: &Report, allocators: &[&str]) -> Table {
    let mut table = figures(allocators, &JUDGED);
    for row in report.rows.iter().filter(|row| !row.is_timed()) {
        let line = cells(row, |series| series.left_bytes.map_or("–".to_owned(), bytes));
        let goal = goals::of_row(&report.goals, row.workload, row.threads);
        table.add_row(line.into_iter().chain(judged(row.left.as_ref(), goal)));
    }
    table
}

fn cpu(report: &Report, allocators: &[&str]) -> Table {
    let mut table = figures(allocators, &COMPARISON);
    for row in timed(report) {
        let line = cells(row, |series| time(series.cpu_ns_per_op));
        table.add_row(line.into_iter().chain(comparison(row.cpu.as_ref())));
    }
    table
}

fn latencies(report: &Report) -> Table {
    let mut table = table(["workload", "threads", "allocator", "p50", "p99", "p99.9", "longest"]);
    align_figures(&mut table, 3);
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

/// `≤ 1.00 met`; nothing where there is no ratio.
fn within(goal: f64, ratio: Option<f64>) -> String {
    ratio.map_or(String::new(), |ratio| format!("≤ {goal:.2} {}", goals::met(ratio <= goal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_interval_without_1_decides() {
        let ratio = |low, high| Ratio { best: 0, value: 1.0, low, high };
        let words = [ratio(0.8, 0.9), ratio(1.1, 1.2), ratio(0.9, 1.1), ratio(0.9, 0.9)].map(|ratio| word(&ratio));
        assert_eq!(words, ["won", "lost", "open", "open"]);
    }

    #[test]
    fn a_ratio_is_held_against_its_goal() {
        assert_eq!(within(0.8, Some(0.8)), "≤ 0.80 met");
        assert_eq!(within(0.8, Some(0.801)), "≤ 0.80 missed");
        assert_eq!(within(0.8, None), "");
    }
}
