//! Peak memory over all rows.

use std::collections::BTreeMap;

use alloc_bench::statistics;
use serde::Serialize;

use super::Row;
use crate::driver::goals;

/// Peak memory over all rows whose time is measured.
#[derive(Debug, Serialize)]
pub(crate) struct Memory {
    /// Per allocator, the geometric mean of the rows' medians.
    pub(crate) geometric_mean_bytes: BTreeMap<&'static str, f64>,
    /// The geometric mean of the rows' ratios, each to the row's own best peer.
    pub(crate) ratio: Option<f64>,
    pub(crate) goal: f64,
    /// The greatest of those ratios.
    pub(crate) worst: Option<f64>,
    pub(crate) worst_goal: f64,
}

impl Memory {
    pub(super) fn new(rows: &[Row]) -> Self {
        let mut peaks: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
        for series in rows.iter().filter(|row| row.is_timed()).flat_map(|row| &row.series) {
            peaks.entry(series.allocator).or_default().push(series.peak_bytes);
        }
        let mean = |(allocator, peaks): (_, Vec<f64>)| Some((allocator, statistics::geometric_mean(&peaks)?));
        let ratios: Vec<f64> = rows.iter().filter_map(|row| Some(row.memory.as_ref()?.ratio.value)).collect();
        Self {
            geometric_mean_bytes: peaks.into_iter().filter_map(mean).collect(),
            ratio: statistics::geometric_mean(&ratios),
            goal: goals::MEMORY_MEAN,
            worst: ratios.into_iter().max_by(f64::total_cmp),
            worst_goal: goals::MEMORY_WORST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::report::tests::{left, row};

    #[test]
    fn memory_is_the_geometric_mean_of_the_rows_ratios() {
        let rows = [row("pair-64", [2, 1, 9]), row("batch-1000", [8, 9, 4]), left("shrink-1g", [99, 1, 1])];
        let memory = Memory::new(&rows);
        assert!((memory.ratio.unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(memory.worst, Some(2.0));
        assert!((memory.geometric_mean_bytes["gracealloc"] - 4.0).abs() < 1e-12);
    }

    #[test]
    fn without_rows_there_is_no_ratio() {
        assert_eq!(Memory::new(&[]).ratio, None);
    }
}
