//! What the deferral's other tables have no column for: memory while a reader stays, and waits for readers.

use alloc_bench::protocol::Sample;
use alloc_bench::workloads::Measures;
use comfy_table::Table;

use super::deferral::{singles, table_of_singles};
use super::{bytes, percentiles, time};
use crate::driver::deferral::Row;
use crate::driver::goals::waiting_share;
use crate::driver::report::Series;

/// A line for each of those that looked at memory while everything waited.
pub(super) fn waiting(rows: &[Row]) -> Table {
    let after = ["pass, per object", "drain, per object", "drain", "until memory is back", "memory left"];
    let mut table = table_of_singles(&["memory added", "of the objects' own"], &after);
    for (whose, series) in singles(rows, |_| true) {
        if let Some(added) = series.waiting_bytes {
            table.add_row(whose.into_iter().chain([bytes(added)]).chain(given_back(series)));
        }
    }
    table
}

/// The other figures of such a line. Memory that comes back in fewer than half of the rounds does not come back.
fn given_back(series: &Series) -> [String; 6] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    let back = series.samples.iter().filter(|sample| sample.settle_ns.is_some()).count();
    let settle = series.median(|sample| sample.settle_ns).filter(|_| 2 * back > series.samples.len());
    [
        format!("{:.1} %", series.median_of(waiting_share) * 100.0),
        time(series.ns_per_op),
        time(series.median_of(Sample::drain_ns_per_op)),
        time(series.median_of(|sample| sample.drain_ns as f64)),
        or_dash(settle.map(time)),
        or_dash(series.left_bytes.map(bytes)),
    ]
}

/// A line for each of those that wait for readers.
pub(super) fn waits(rows: &[Row]) -> Table {
    let mut table = table_of_singles(&["p50", "± half the middle half"], &["p99", "p99.9", "longest"]);
    for (whose, series) in singles(rows, |row| row.measures == Measures::Waits) {
        if let Some([p50, rest @ ..]) = percentiles(series) {
            let spread = format!("±{:.0}%", series.spread_of(Sample::median_step_ns) * 100.0);
            table.add_row(whose.into_iter().chain([time(p50), spread]).chain(rest.map(time)));
        }
    }
    table
}
