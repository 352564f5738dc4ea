//! Goals: all of them in a table, and those of one row in a cell.

use comfy_table::Table;

use super::{align_figures, bytes, time};
use crate::driver::goals::{Value, Verdict};

/// A line for each goal that was judged.
pub(super) fn table(verdicts: &[Verdict]) -> Table {
    let mut table = super::table(["workload", "threads", "figure", "", "95 %", "goal"]);
    align_figures(&mut table, 3);
    for verdict in verdicts {
        let interval = match verdict.value {
            Value::Ratio { low, high, .. } => format!("{low:.2}–{high:.2}"),
            Value::Bytes(_) | Value::Share(_) | Value::Nanoseconds(_) => String::new(),
        };
        let goal = [Some(verdict.goal), verdict.stretch].into_iter().flatten().map(|goal| bound(&verdict.value, goal));
        let goal = goal.collect::<Vec<_>>().join(", stretch ");
        let (workload, threads) = (verdict.workload.to_owned(), verdict.threads.to_string());
        table.add_row([workload, threads, verdict.what.clone(), value(&verdict.value), interval, goal]);
    }
    table
}

/// The goals of one row; of those that are not about the best peer, the figure too.
pub(super) fn of_row(verdicts: &[Verdict], workload: &str, threads: usize) -> String {
    let is_meant = |verdict: &&Verdict| verdict.workload == workload && verdict.threads == threads;
    verdicts.iter().filter(is_meant).map(short).collect::<Vec<_>>().join("; ")
}

fn short(verdict: &Verdict) -> String {
    let (goal, met) = (shown(&verdict.value, verdict.goal), met(verdict.is_met));
    match (verdict.peer, &verdict.value) {
        (Some(peer), figure) => format!("≤ {goal} of {peer} {met} ({})", value(figure)),
        (None, figure @ Value::Share(_)) => format!("≤ {goal} of its peak {met} ({})", value(figure)),
        (None, _) => format!("≤ {goal} {met}"),
    }
}

fn value(value: &Value) -> String {
    shown(value, value.number())
}

/// A bound, and whether it is kept.
fn bound(value: &Value, most: f64) -> String {
    format!("≤ {} {}", shown(value, most), met(value.number() <= most))
}

/// A number of this kind.
fn shown(kind: &Value, number: f64) -> String {
    match kind {
        Value::Ratio { .. } => format!("{number:.2}"),
        Value::Bytes(_) => bytes(number),
        Value::Share(_) => format!("{:.1} %", number * 100.0),
        Value::Nanoseconds(_) => time(number),
    }
}

/// In a word.
pub(super) fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::goals::{Ground, of_rows};
    use crate::driver::report::tests::{left, row};

    #[test]
    fn a_rows_goals_are_in_its_cell() {
        let verdicts = of_rows(&[row("pair-64", [1, 1, 1]), left("shrink-1g", [3, 9, 9])], Ground::Sections, 1);
        assert_eq!(of_row(&verdicts, "pair-64", 1), "≤ 0.90 met; ≤ 0.60 of jemalloc missed (0.75)");
        assert_eq!(of_row(&verdicts, "shrink-1g", 1), "≤ 5.0 % of its peak met (3.0 %)");
        assert_eq!(of_row(&verdicts, "pair-64", 2), "");
    }

    #[test]
    fn stretches_are_told_beside_goals() {
        let verdicts = of_rows(&[row("pair-64", [1, 1, 1])], Ground::Sections, 1);
        let stretched: Vec<_> = verdicts.into_iter().map(|it| Verdict { stretch: Some(0.5), ..it }).collect();
        assert!(table(&stretched).to_string().contains("≤ 0.90 met, stretch ≤ 0.50 missed"));
    }

    #[test]
    fn every_goal_has_a_line() {
        let shown = table(&of_rows(&[row("pair-64", [1, 1, 1])], Ground::Sections, 1)).to_string();
        assert_eq!(shown.lines().count(), 2 + 2);
        assert!(shown.contains("time by that of jemalloc") && shown.contains("≤ 0.60 missed"));
    }
}
