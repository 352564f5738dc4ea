//! Options: from the environment at start-up, and from the program at any time.
//!
//! One table says everything of an option: its name, its range, where it is kept, and whether it comes too late once the
//! allocator has started. The environment (`GRACEALLOC_<NAME>=<number>`) beats the program. A bad setting there is
//! one warning line on standard error and the default; from the program it is a [`ConfigError`].

use crate::platform::env;
use crate::platform::fatal::report;
use crate::{cache, deferred, tunables};
use core::fmt;
use core::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Relaxed, Release},
};
use core::time::Duration;

const PREFIX: &[u8] = b"GRACEALLOC_";

/// An option: what its value may be and where it goes.
struct Setting {
    name: &'static str,
    low: u64,
    high: u64,
    /// Only before the first allocation.
    early: bool,
    store: fn(u64),
    from_environment: AtomicBool,
}

const fn setting(name: &'static str, low: u64, high: u64, early: bool, store: fn(u64)) -> Setting {
    Setting { name, low, high, early, store, from_environment: AtomicBool::new(false) }
}

static BUDGET_BYTES: Setting = setting("BUDGET_BYTES", 0, 1 << 50, false, |n| tunables::BUDGET_BYTES.store(n, Relaxed));
static DECAY_MS: Setting = setting("DECAY_MS", 1, 86_400_000, false, |n| tunables::DECAY_MS.store(n, Relaxed));
static DEPOT_BYTES: Setting =
    setting("DEPOT_BYTES", 0, 1 << 40, false, |n| tunables::DEPOT_BYTES.store(n as usize, Relaxed));
static DRAIN_MS: Setting = setting("DRAIN_MS", 1, 60_000, false, |n| tunables::DRAIN_MS.store(n, Relaxed));
static HELP_PAGES: Setting = setting("HELP_PAGES", 0, 4096, false, |n| tunables::HELP_PAGES.store(n as u32, Relaxed));
static RESERVE_BYTES: Setting =
    setting("RESERVE_BYTES", 0, 32 << 20, false, |n| tunables::RESERVE_BYTES.store(n as usize, Relaxed));
static RESERVE_MAGAZINES: Setting =
    setting("RESERVE_MAGAZINES", 0, 4096, false, |n| tunables::RESERVE_MAGAZINES.store(n as u32, Relaxed));
static RSEQ: Setting = setting("RSEQ", 0, 1, true, |n| tunables::WANT_RSEQ.store(n != 0, Relaxed));
static SHARDS: Setting = setting("SHARDS", 0, 4096, true, |n| tunables::SHARDS.store(n as u32, Relaxed));

static STALL_REPORT_MS: Setting =
    setting("STALL_REPORT_MS", 1, 86_400_000, false, |n| tunables::STALL_REPORT_MS.store(n, Relaxed));
static WAIT_LIMIT_MS: Setting =
    setting("WAIT_LIMIT_MS", 0, 86_400_000, false, |n| tunables::WAIT_LIMIT_MS.store(n, Relaxed));
static WORKER: Setting = setting("WORKER", 0, 1, false, |n| tunables::WORKER.store(n != 0, Relaxed));

static SETTINGS: [&Setting; OPTIONS] = [
    &BUDGET_BYTES,
    &DECAY_MS,
    &DEPOT_BYTES,
    &DRAIN_MS,
    &HELP_PAGES,
    &RESERVE_BYTES,
    &RESERVE_MAGAZINES,
    &RSEQ,
    &SHARDS,
    &STALL_REPORT_MS,
    &WAIT_LIMIT_MS,
    &WORKER,
];
const OPTIONS: usize = 12;

impl Setting {
    fn check(&self, value: u64) -> Result<(), ConfigError> {
        if value < self.low || value > self.high {
            return Err(ConfigError::OutOfRange { option: self.name, value, low: self.low, high: self.high });
        }
        if self.early && cache::is_ready() && !self.from_environment.load(Relaxed) {
            return Err(ConfigError::TooLate { option: self.name });
        }
        Ok(())
    }

    /// Applies a value of the program's, unless the environment has spoken.
    fn apply(&self, value: u64) {
        // Acquire: pairs with the Release in `from_environment`, which follows its store of the value.
        if !self.from_environment.load(Acquire) {
            (self.store)(value);
        }
        if self.from_environment.load(Acquire) {
            read_environment(); // it may have spoken in between
        }
    }
}

/// Options for [`configure`]; what is not set stays as it is.
///
/// Each can also be set by an environment variable, which then wins.
///
/// | option | variable | unit | from, to | default |
/// | --- | --- | --- | --- | --- |
/// | [`budget_bytes`](Self::budget_bytes) | `GRACEALLOC_BUDGET_BYTES` | bytes, 0: an eighth of the memory there is | 0, 2^50 | 0 |
/// | [`decay`](Self::decay) | `GRACEALLOC_DECAY_MS` | milliseconds | 1, a day | 1000 |
/// | [`depot_bytes`](Self::depot_bytes) | `GRACEALLOC_DEPOT_BYTES` | bytes for each class and CPU group | 0, 2^40 | 524288 |
/// | [`drain_delay`](Self::drain_delay) | `GRACEALLOC_DRAIN_MS` | milliseconds | 1, 60000 | 10 |
/// | [`help_pages`](Self::help_pages) | `GRACEALLOC_HELP_PAGES` | pages, 0: left to the worker | 0, 4096 | 8 |
/// | [`reserve_bytes`](Self::reserve_bytes) | `GRACEALLOC_RESERVE_BYTES` | bytes | 0, 32 MiB | 65536 |
/// | [`reserve_magazines`](Self::reserve_magazines) | `GRACEALLOC_RESERVE_MAGAZINES` | for each CPU | 0, 4096 | 5 |
/// | [`rseq`](Self::rseq) | `GRACEALLOC_RSEQ` | 0 or 1 | | 1 |
/// | [`shards`](Self::shards) | `GRACEALLOC_SHARDS` | cells, 0: one for each possible CPU | 0, 4096 | 0 |
/// | [`stall_report`](Self::stall_report) | `GRACEALLOC_STALL_REPORT_MS` | milliseconds | 1, a day | 10000 |
/// | [`wait_limit`](Self::wait_limit) | `GRACEALLOC_WAIT_LIMIT_MS` | milliseconds | 0, a day | 100 |
/// | [`worker`](Self::worker) | `GRACEALLOC_WORKER` | 0 or 1 | | 1 |
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// gracealloc::configure(gracealloc::Config::new().decay(Duration::from_millis(250)))?;
/// # Ok::<(), gracealloc::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Config {
    values: [Option<u64>; OPTIONS],
}

impl Config {
    /// Sets nothing.
    pub const fn new() -> Self {
        Self { values: [None; OPTIONS] }
    }

    fn set(mut self, setting: &'static Setting, value: u64) -> Self {
        if let Some(at) = SETTINGS.iter().position(|&known| core::ptr::eq(known, setting)) {
            self.values[at] = Some(value);
        }
        self
    }

    /// How many bytes may wait for grace periods in pages, 0 for an eighth of the machine's memory or the control group's
    /// limit. When it is spent, [`deferred_free`](crate::deferred_free) waits where it may. At least 1 MiB, of which an
    /// eighth is kept back. A page is charged with all it can hold (up to 64 KiB, or four objects) while it is in use,
    /// open ones of each CPU and size too; large objects are charged as well.
    pub fn budget_bytes(self, bytes: usize) -> Self {
        self.set(&BUDGET_BYTES, bytes as u64)
    }

    /// How long unused pages stay before they go back, in whole milliseconds, at least one. They go back in passing slow
    /// paths, in the second pass after they became unused.
    pub fn decay(self, period: Duration) -> Self {
        self.set(&DECAY_MS, milliseconds(period))
    }

    /// How many bytes of objects the depot keeps in full magazines, for each size class and CPU group; softly, and never
    /// less than two magazines.
    pub fn depot_bytes(self, bytes: usize) -> Self {
        self.set(&DEPOT_BYTES, bytes as u64)
    }

    /// After how long a page that is not full is sealed, in whole milliseconds, by the worker.
    pub fn drain_delay(self, delay: Duration) -> Self {
        self.set(&DRAIN_MS, milliseconds(delay))
    }

    /// At every so many pages that it seals, a caller of [`deferred_free`](crate::deferred_free) that may block pushes
    /// grace periods on by one step, which runs functions deferred with crossbeam; at each page when half the budget is
    /// spent. 0 leaves that to the worker, but for large objects and callers that have to wait.
    pub fn help_pages(self, pages: usize) -> Self {
        self.set(&HELP_PAGES, pages as u64)
    }

    /// How many bytes of pre-faulted memory are kept for allocation in atomic context. Filled by later slow paths that may
    /// block, not at once.
    pub fn reserve_bytes(self, bytes: usize) -> Self {
        self.set(&RESERVE_BYTES, bytes as u64)
    }

    /// How many empty magazines are kept for atomic context, for each CPU.
    pub fn reserve_magazines(self, magazines: usize) -> Self {
        self.set(&RESERVE_MAGAZINES, magazines as u64)
    }

    /// Whether restartable sequences may be used. Only before the first allocation.
    pub fn rseq(self, on: bool) -> Self {
        self.set(&RSEQ, u64::from(on))
    }

    /// How many cells the caches have where restartable sequences are not used; 0 for one for each possible CPU. Only
    /// before the first allocation.
    pub fn shards(self, cells: usize) -> Self {
        self.set(&SHARDS, cells as u64)
    }

    /// A grace period that waits for readers is reported on standard error after every such period, in whole milliseconds.
    pub fn stall_report(self, period: Duration) -> Self {
        self.set(&STALL_REPORT_MS, milliseconds(period))
    }

    /// How long [`deferred_free`](crate::deferred_free) waits for a grace period, in whole milliseconds, when no page is to
    /// be had and its caller may block.
    pub fn wait_limit(self, limit: Duration) -> Self {
        self.set(&WAIT_LIMIT_MS, milliseconds(limit))
    }

    /// Whether there may be a worker thread. Without one, [`drive`](crate::drive), [`barrier`](crate::barrier) and callers
    /// that help do its work. One that was started stays.
    pub fn worker(self, on: bool) -> Self {
        self.set(&WORKER, u64::from(on))
    }

    fn values(&self) -> impl Iterator<Item = (&'static Setting, u64)> {
        SETTINGS.iter().zip(&self.values).filter_map(|(&setting, &value)| Some((setting, value?)))
    }
}

fn milliseconds(period: Duration) -> u64 {
    u64::try_from(period.as_millis()).unwrap_or(u64::MAX)
}

/// Why [`configure`] refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The option is fixed once the allocator has served its first allocation; set the environment variable instead.
    TooLate {
        /// The option's name, as after `GRACEALLOC_`.
        option: &'static str,
    },
    /// The value is not between `low` and `high`.
    OutOfRange {
        /// The option's name, as after `GRACEALLOC_`.
        option: &'static str,
        /// What was asked for.
        value: u64,
        /// The least permitted.
        low: u64,
        /// The most permitted.
        high: u64,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate { option } => {
                write!(f, "{option} is fixed once the allocator is in use; set GRACEALLOC_{option} in the environment")
            }
            Self::OutOfRange { option, value, low, high } => write!(f, "{option} = {value} is not in {low}..={high}"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// Sets options; all of them or, on an error, none. An option that the environment has set stays as it is, and that is
/// no error.
///
/// # Errors
/// - [`ConfigError::OutOfRange`]: a value is not permitted.
/// - [`ConfigError::TooLate`]: an option that only works before the first allocation, after it.
///
/// # Examples
/// ```
/// use gracealloc::{Config, ConfigError, configure};
///
/// assert_eq!(configure(Config::new().reserve_bytes(1 << 20)), Ok(()));
/// let error = configure(Config::new().reserve_bytes(1 << 40)).unwrap_err();
/// assert!(matches!(error, ConfigError::OutOfRange { option: "RESERVE_BYTES", .. }));
/// ```
pub fn configure(config: Config) -> Result<(), ConfigError> {
    config.values().try_for_each(|(setting, value)| setting.check(value))?;
    config.values().for_each(|(setting, value)| setting.apply(value));
    Ok(())
}

/// Takes over what `GRACEALLOC_*` variables say. Threads that race through here do the same twice; one of them warns.
pub(crate) fn read_environment() {
    static WARNED: AtomicBool = AtomicBool::new(false);
    let warn = !WARNED.swap(true, Relaxed);
    env::for_each(PREFIX, |name, value| {
        if let Err(why) = from_environment(&name[PREFIX.len()..], value)
            && warn
        {
            let (name, value) = (Ascii(name), Ascii(value));
            report(format_args!("warning: {name}={value} ignored: {why}"));
        }
    });
}

fn from_environment(name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    let setting = SETTINGS.iter().find(|s| s.name.as_bytes() == name).ok_or("no such option")?;
    let number = parse(value).ok_or("not a number")?;
    if number < setting.low || number > setting.high {
        return Err("out of range");
    }
    (setting.store)(number);
    setting.from_environment.store(true, Release);
    Ok(())
}

fn parse(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Sets the caches up as configured.
pub(crate) fn init_cache() -> bool {
    let (shards, want_rseq) = (tunables::SHARDS.load(Relaxed), tunables::WANT_RSEQ.load(Relaxed));
    cache::init_slots(shards, want_rseq) && deferred::init() && cache::init() // the last: `cache::is_ready` stands for all
}

/// Text of unknown origin, with everything that is not printable ASCII shown as `?`.
struct Ascii(&'static [u8]);

impl fmt::Display for Ascii {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let printable = |&b: &u8| if b.is_ascii_graphic() || b == b' ' { b as char } else { '?' };
        self.0.iter().take(64).map(printable).try_for_each(|c| f.write_char(c))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_changes_nothing() {
        let before = tunables::DECAY_MS.load(Relaxed);
        let bad = Config::new().decay(Duration::from_secs(7)).reserve_magazines(1 << 20);
        let error = configure(bad).unwrap_err();
        assert_eq!(error.to_string(), "RESERVE_MAGAZINES = 1048576 is not in 0..=4096");
        assert_eq!(tunables::DECAY_MS.load(Relaxed), before);
    }

    #[test]
    fn numbers_are_decimal() {
        assert_eq!(
            [&b"12"[..], b" 7 ", b"", b"-1", b"1k", b"\xff"].map(parse),
            [Some(12), Some(7), None, None, None, None]
        );
    }
}
