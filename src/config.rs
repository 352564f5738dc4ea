//! Options: from the environment at start-up, and from the program at any time.
//!
//! One table says everything of an option: its name, its range, where it is kept, and whether it comes too late once the
//! allocator has started. The environment (`GRACEALLOC_<NAME>=<number>`) beats the program. A bad setting there is
//! one warning line on standard error and the default; from the program it is a [`ConfigError`].

use crate::platform::env;
use crate::platform::fatal::report;
use crate::{cache, tunables};
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

static DECAY_MS: Setting = setting("DECAY_MS", 1, 86_400_000, false, |n| tunables::DECAY_MS.store(n, Relaxed));
static DEPOT_BYTES: Setting =
    setting("DEPOT_BYTES", 0, 1 << 40, false, |n| tunables::DEPOT_BYTES.store(n as usize, Relaxed));
static RESERVE_BYTES: Setting =
    setting("RESERVE_BYTES", 0, 32 << 20, false, |n| tunables::RESERVE_BYTES.store(n as usize, Relaxed));
static RESERVE_MAGAZINES: Setting =
    setting("RESERVE_MAGAZINES", 0, 4096, false, |n| tunables::RESERVE_MAGAZINES.store(n as u32, Relaxed));
static RSEQ: Setting = setting("RSEQ", 0, 1, true, |n| tunables::WANT_RSEQ.store(n != 0, Relaxed));
static SHARDS: Setting = setting("SHARDS", 0, 4096, true, |n| tunables::SHARDS.store(n as u32, Relaxed));

static SETTINGS: [&Setting; 6] = [&DECAY_MS, &DEPOT_BYTES, &RESERVE_BYTES, &RESERVE_MAGAZINES, &RSEQ, &SHARDS];

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
/// | [`decay`](Self::decay) | `GRACEALLOC_DECAY_MS` | milliseconds | 1, a day | 1000 |
/// | [`depot_bytes`](Self::depot_bytes) | `GRACEALLOC_DEPOT_BYTES` | bytes for each class and CPU group | 0, 2^40 | 524288 |
/// | [`reserve_bytes`](Self::reserve_bytes) | `GRACEALLOC_RESERVE_BYTES` | bytes | 0, 32 MiB | 65536 |
/// | [`reserve_magazines`](Self::reserve_magazines) | `GRACEALLOC_RESERVE_MAGAZINES` | for each CPU | 0, 4096 | 5 |
/// | [`rseq`](Self::rseq) | `GRACEALLOC_RSEQ` | 0 or 1 | | 1 |
/// | [`shards`](Self::shards) | `GRACEALLOC_SHARDS` | cells, 0: one for each possible CPU | 0, 4096 | 0 |
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
    decay_ms: Option<u64>,
    depot_bytes: Option<u64>,
    reserve_bytes: Option<u64>,
    reserve_magazines: Option<u64>,
    rseq: Option<u64>,
    shards: Option<u64>,
}

impl Config {
    /// Sets nothing.
    pub const fn new() -> Self {
        Self {
            decay_ms: None,
            depot_bytes: None,
            reserve_bytes: None,
            reserve_magazines: None,
            rseq: None,
            shards: None,
        }
    }

    /// How long unused pages stay before they go back, in whole milliseconds, at least one. They go back in passing slow
    /// paths, in the second pass after they became unused.
    pub fn decay(mut self, period: Duration) -> Self {
        self.decay_ms = Some(u64::try_from(period.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// How many bytes of objects the depot keeps in full magazines, for each size class and CPU group; softly, and never
    /// less than two magazines.
    pub fn depot_bytes(mut self, bytes: usize) -> Self {
        self.depot_bytes = Some(bytes as u64);
        self
    }

    /// How many bytes of pre-faulted memory are kept for allocation in atomic context.
    pub fn reserve_bytes(mut self, bytes: usize) -> Self {
        self.reserve_bytes = Some(bytes as u64);
        self
    }

    /// How many empty magazines are kept for atomic context, for each CPU.
    pub fn reserve_magazines(mut self, magazines: usize) -> Self {
        self.reserve_magazines = Some(magazines as u64);
        self
    }

    /// Whether restartable sequences may be used. Only before the first allocation.
    pub fn rseq(mut self, on: bool) -> Self {
        self.rseq = Some(u64::from(on));
        self
    }

    /// How many cells the caches have where restartable sequences are not used; 0 for one for each possible CPU. Only
    /// before the first allocation.
    pub fn shards(mut self, cells: usize) -> Self {
        self.shards = Some(cells as u64);
        self
    }

    fn values(&self) -> [(&'static Setting, Option<u64>); 6] {
        [
            (&DECAY_MS, self.decay_ms),
            (&DEPOT_BYTES, self.depot_bytes),
            (&RESERVE_BYTES, self.reserve_bytes),
            (&RESERVE_MAGAZINES, self.reserve_magazines),
            (&RSEQ, self.rseq),
            (&SHARDS, self.shards),
        ]
    }
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
    for (setting, value) in config.values() {
        value.map_or(Ok(()), |value| setting.check(value))?;
    }
    for (setting, value) in config.values() {
        if let Some(value) = value {
            setting.apply(value);
        }
    }
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
    cache::init(tunables::SHARDS.load(Relaxed), tunables::WANT_RSEQ.load(Relaxed))
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
