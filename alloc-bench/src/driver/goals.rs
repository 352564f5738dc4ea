//! What is to be reached, and what came of it.
//!
//! A goal bounds a figure of ours by those of peers in the same interleaved rounds: medians, as everywhere. It is judged
//! where what it compares was measured, and left out where not.

mod allocation;
mod deferral;

use alloc_bench::statistics::Ratio;
use serde::Serialize;

pub(super) use self::allocation::{MEMORY_MEAN, MEMORY_WORST, of_workload, verdicts as of_rows};
pub(super) use self::deferral::{verdicts as of_deferral, waiting_share};

/// What gracealloc's slots stand on, which decides what is to be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// Restartable sequences.
    Sections,
    /// The try-locks that stand in for them, where they were switched off.
    Fallback,
    /// The same, where libc has none.
    Musl,
}

/// A goal and what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) workload: &'static str,
    pub(crate) threads: usize,
    pub(crate) what: String,
    /// The peer in question, where it is not the best one of the run.
    pub(crate) peer: Option<&'static str>,
    pub(crate) value: Value,
    pub(crate) goal: f64,
    /// What would be better still.
    pub(crate) stretch: Option<f64>,
    pub(crate) is_met: bool,
}

/// What a goal is a bound of.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Value {
    /// With its 95 % interval.
    Ratio { value: f64, low: f64, high: f64 },
    /// May be negative.
    Bytes(f64),
    /// Of a whole.
    Share(f64),
    /// By itself.
    Nanoseconds(f64),
}

impl From<Ratio> for Value {
    fn from(Ratio { value, low, high, .. }: Ratio) -> Self {
        Self::Ratio { value, low, high }
    }
}

impl Value {
    pub(crate) fn number(&self) -> f64 {
        match *self {
            Self::Ratio { value, .. } | Self::Bytes(value) | Self::Share(value) | Self::Nanoseconds(value) => value,
        }
    }
}
