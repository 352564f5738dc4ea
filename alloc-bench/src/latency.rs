//! Latencies of single steps, for the workloads whose steps are long enough that looking at the clock does not matter.

use std::time::Instant;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// The longest step told apart from longer ones: a minute, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
/// Two digits keep the histogram at some 40 KiB, which every measured process pays.
const DIGITS: u8 = 2;

/// Collects the durations of steps. Recording does not allocate.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty collection.
    ///
    /// # Panics
    ///
    /// Never: the bounds are constants that the histogram accepts.
    pub fn new() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("constant bounds are in order"))
    }

    /// Runs `step` and records how long it took.
    #[inline]
    pub fn time<R>(&mut self, step: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = step();
        self.0.saturating_record(start.elapsed().as_nanos().min(u128::from(LONGEST)) as u64);
        result
    }

    /// Adds what another thread has collected.
    ///
    /// # Panics
    ///
    /// Never: all collections have the same bounds.
    pub fn merge(&mut self, other: &Latencies) {
        self.0.add(&other.0).expect("the same bounds");
    }

    /// The percentiles, or `None` if no step was recorded.
    pub fn percentiles(&self) -> Option<Percentiles> {
        (!self.0.is_empty()).then(|| Percentiles {
            steps: self.0.len(),
            p50_ns: self.0.value_at_quantile(0.5),
            p99_ns: self.0.value_at_quantile(0.99),
            p999_ns: self.0.value_at_quantile(0.999),
            max_ns: self.0.max(),
        })
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// How the steps of one measurement were distributed; nanoseconds, to two digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// How many steps were recorded.
    pub steps: u64,
    /// The median.
    pub p50_ns: u64,
    /// 99 of 100 took at most this long.
    pub p99_ns: u64,
    /// 999 of 1000 took at most this long.
    pub p999_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_has_no_percentiles() {
        assert_eq!(Latencies::new().percentiles(), None);
    }

    #[test]
    fn merging_adds_the_steps() {
        let (mut one, mut other) = (Latencies::new(), Latencies::new());
        one.time(|| ());
        other.time(|| ());
        one.merge(&other);
        assert_eq!(one.percentiles().unwrap().steps, 2);
    }
}
