//! Grace periods: intervals in which every reader active at their start has left.
//!
//! ```text
//!   snapshot, has_elapsed     positions in one sequence           any context
//!   demand                    somebody wants a position reached   any context
//!   step                      pushes on what is demanded          only where foreign code may run; see below
//!
//!   step:   help          each domain, without a lock: crossbeam's queue moves on
//!           advance       under the driver's try-lock: each domain; end the grace period if all are through,
//!                         begin the next if one is demanded
//!           help          the one just begun
//!
//!   enter, leave            readers of our own                    any context
//! ```
//!
//! Nobody waits for the driver's lock, and no step blocks: whoever may, pushes on by one. While crossbeam is entered the
//! thread is *helping*: what runs there (other crates' destructors) may defer and free, but does not help in turn.

mod crossbeam;
mod domain;
mod readers;
mod sequence;

use crate::context::{self, InCrossbeam};
use crate::platform::clock;
use crate::platform::delay;
use crate::platform::errno;
use crate::platform::event::Event;
use crate::platform::gate::{FORK_PATIENCE, Gate, Inside};
use crate::platform::readers as counts;
use crate::platform::thread;
use core::cell::Cell;
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use core::time::Duration;
use crossbeam::CROSSBEAM;
use domain::Domain;
use readers::READERS;
use sequence::Sequence;

pub(crate) use crate::platform::reader_counts::Parity;
pub(crate) use crate::platform::readers::{has_owned, note_owned};

/// A word that is alone on its cache lines: each of these is written by many and read by all.
#[repr(align(128))]
struct Apart<T>(T);

static SEQUENCE: Apart<Sequence> = Apart(Sequence::new());
/// The highest position that anybody wants reached.
static DEMAND: Apart<AtomicU64> = Apart(AtomicU64::new(0));
/// The driver's try-lock.
static DRIVER: AtomicBool = AtomicBool::new(false);
/// When the running grace period began, in milliseconds.
static BEGAN: AtomicU64 = AtomicU64::new(0);
/// A grace period ended.
static ENDED: Event = Event::new();
/// Threads in `step`.
static HELPERS: Gate = Gate::new();

static DOMAINS: [&dyn Domain; 2] = [&READERS, &CROSSBEAM];

thread_local! {
    /// This thread is inside `step`.
    static HELPING: Cell<bool> = const { Cell::new(false) };
}

/// The position at which a whole grace period has passed since now.
pub(crate) fn snapshot() -> u64 {
    SEQUENCE.0.snapshot()
}

/// Whether a position has been reached.
pub(crate) fn has_elapsed(position: u64) -> bool {
    SEQUENCE.0.has_elapsed(position)
}

/// Wants a position reached.
pub(crate) fn demand(position: u64) {
    // Relaxed, and looked at first: one write for each grace period. A driver that misses it is followed by another step.
    if DEMAND.0.load(Relaxed) < position {
        DEMAND.0.fetch_max(position, Relaxed);
    }
}

/// Whether a grace period runs or is wanted.
pub(crate) fn is_wanted() -> bool {
    SEQUENCE.0.running().is_some() || !has_elapsed(DEMAND.0.load(Relaxed))
}

/// Grace periods that have ended.
pub(crate) fn ended() -> u64 {
    SEQUENCE.0.ended()
}

/// Has crossbeam make its collector, or waits for the thread that is making it. Allocates: not in a slow path.
pub(crate) fn touch() {
    crossbeam::touch();
}

/// Pushes on what is wanted, by one step. Runs crossbeam and, there, other crates' destructors: the caller may block, is
/// no reader, and holds no lock of ours.
pub(crate) fn step() {
    if !is_wanted() {
        return;
    }
    if let Some(_helping) = Helping::enter() {
        help();
        if advance() {
            help();
        }
    }
}

fn help() {
    if let Some(number) = SEQUENCE.0.running() {
        DOMAINS.iter().for_each(|domain| domain.help(number));
    }
}

/// Ends the running grace period if it is over, and begins the next if one is wanted. Returns whether it began one.
fn advance() -> bool {
    // Acquire and Release: the driver sees what the last one did.
    if DRIVER.swap(true, Acquire) {
        return false;
    }
    if let Some(number) = SEQUENCE.0.running() {
        DOMAINS.iter().for_each(|domain| domain.advance(number));
        if DOMAINS.iter().all(|domain| domain.is_over(number)) {
            SEQUENCE.0.end();
            ENDED.signal();
        }
    }
    delay::point();
    let begins = SEQUENCE.0.running().is_none() && !has_elapsed(DEMAND.0.load(Relaxed));
    if begins {
        BEGAN.store(clock::now_ms(), Relaxed);
        let number = SEQUENCE.0.begin();
        delay::point();
        DOMAINS.iter().for_each(|domain| domain.begin(number));
    }
    DRIVER.store(false, Release);
    begins
}

/// A thread in `step`, at most once at a time, and not while one forks.
struct Helping {
    _inside: Inside,
    _critical: InCrossbeam,
}

impl Helping {
    fn enter() -> Option<Self> {
        if HELPING.get() {
            return None;
        }
        let inside = HELPERS.try_enter()?;
        HELPING.set(true);
        Some(Self { _inside: inside, _critical: InCrossbeam::enter() })
    }
}

impl Drop for Helping {
    fn drop(&mut self) {
        HELPING.set(false);
    }
}

/// A grace period that does not end.
pub(crate) struct Stall {
    /// The domain that holds it up.
    pub(crate) domain: &'static str,
    /// For how long it has been running.
    pub(crate) age: Duration,
    /// About how many readers it waits for, where that is known.
    pub(crate) readers: Option<u64>,
}

/// The grace period that runs, if some domain has not got through.
pub(crate) fn stalled() -> Option<Stall> {
    let number = SEQUENCE.0.running()?;
    let domain = DOMAINS.iter().find(|domain| !domain.is_over(number))?;
    let age = Duration::from_millis(clock::now_ms().saturating_sub(BEGAN.load(Relaxed)));
    Some(Stall { domain: domain.name(), age, readers: domain.remaining() })
}

/// Counts a reader of our own in. Never blocks.
#[inline(always)]
pub(crate) fn enter() -> Parity {
    counts::enter().unwrap_or_else(enter_shared)
}

/// Counts one out.
#[inline(always)]
pub(crate) fn leave(parity: Parity) {
    if !counts::leave(parity) {
        leave_shared(parity);
    }
}

#[cold]
#[inline(never)]
fn enter_shared() -> Parity {
    if counts::is_closed() && TRIED.load(Relaxed) != ended() && !context::is_atomic() {
        open();
    }
    counts::enter_shared()
}

/// Grace periods that had ended when somebody last tried to open the records of CPUs. A kernel that refuses is asked again
/// after another one: each time is a system call, with the driver's lock held.
static TRIED: AtomicU64 = AtomicU64::new(u64::MAX);

fn open() {
    if !DRIVER.swap(true, Acquire) {
        let _errno = errno::Saved::new();
        TRIED.store(ended(), Relaxed);
        counts::open();
        DRIVER.store(false, Release);
    }
}

#[cold]
#[inline(never)]
fn leave_shared(parity: Parity) {
    counts::leave_shared(parity);
}

/// What the guards of the forking thread that are one reader in the child have been counted in under, in bytes.
static INHERITED: AtomicU64 = AtomicU64::new(0);
/// Forks that this process has behind it.
static GENERATION: AtomicU32 = AtomicU32::new(0);

/// Counts out what was inherited.
#[cold]
pub(crate) fn leave_inherited() {
    if let Some(parity) = Parity::from_bytes(INHERITED.load(Relaxed)) {
        leave(parity);
    }
}

/// Forks that this process has behind it: what other threads had of it before is of no meaning in a child.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Relaxed)
}

/// How a wait takes turns with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A few looks without a pause, one that lets others run (among busy threads that is a scheduler's slice), then sleeps.
    Normal,
    /// Looks without a pause for long, then lets others run, and sleeps late.
    Expedited,
}

impl Pace {
    /// After how many looks a wait begins to let others run, to sleep shortly, and to sleep long.
    fn turns(self) -> [u32; 3] {
        match self {
            Self::Normal => [8, 9, 60],
            Self::Expedited => [1000, 2000, 100_000],
        }
    }

    /// The pause after the `n`-th look: at longest until a grace period ends (since `seen`).
    fn pause(self, n: u32, seen: u32, left: Duration) {
        match self.turns() {
            [spin, ..] if n < spin => core::hint::spin_loop(),
            [_, let_run, _] if n < let_run => thread::pause(),
            [.., long] => ENDED.wait(seen, left.min(NAPS[usize::from(n >= long)])),
        }
    }
}

/// How long a waiter sleeps before it pushes on again.
const NAPS: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(1)];

/// Pushes on until the position is reached, or `limit` is over; false then. As for [`step`].
pub(crate) fn wait(position: u64, limit: Option<Duration>, pace: Pace) -> bool {
    demand(position);
    let begin = clock::now_ns();
    let mut looks: u32 = 0;
    loop {
        let seen = ENDED.now();
        step();
        if has_elapsed(position) {
            return true;
        }
        let waited = Duration::from_nanos(clock::now_ns().saturating_sub(begin));
        let left = limit.map_or(Duration::MAX, |limit| limit.saturating_sub(waited));
        if left.is_zero() {
            return false;
        }
        pace.pause(looks, seen, left);
        looks = looks.saturating_add(1);
    }
}

/// Waits until others have reached the position, without entering crossbeam; false when `limit` is over.
pub(crate) fn wait_for_others(position: u64, limit: Duration) -> bool {
    demand(position);
    let begin = clock::now_ns();
    loop {
        let seen = ENDED.now();
        let waited = Duration::from_nanos(clock::now_ns().saturating_sub(begin));
        if has_elapsed(position) || waited >= limit {
            return has_elapsed(position);
        }
        ENDED.wait(seen, limit - waited);
    }
}

/// Before a fork: no helper is inside crossbeam, and none holds the driver's lock. A helper that does not come out in time
/// (foreign destructors) is pinned in the child for ever, as any reader on another thread is.
pub(crate) fn lock_all() {
    HELPERS.close(u32::from(HELPING.get()), FORK_PATIENCE);
}

/// After it.
pub(crate) fn unlock_all() {
    HELPERS.open();
}

/// In the child: only this thread is left.
pub(crate) fn restart() {
    HELPERS.restart(u32::from(HELPING.get()));
    DRIVER.store(false, Release);
    ENDED.restart();
    GENERATION.fetch_add(1, Relaxed);
    INHERITED.store(counts::restart(context::inherit_reads()).bytes(), Relaxed);
    if let Some(number) = SEQUENCE.0.running() {
        DOMAINS.iter().for_each(|domain| domain.begin(number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    /// What is deferred with crossbeam runs inside some step of ours, sooner or later.
    #[test]
    fn foreign_destructors_run_without_the_driver_lock_and_do_not_help() {
        static HELPED: AtomicU32 = AtomicU32::new(0);
        static LOCKED: AtomicU32 = AtomicU32::new(0);
        const ENOUGH: u32 = 20;
        let begin = std::time::Instant::now();
        while HELPED.load(SeqCst) < ENOUGH && begin.elapsed().as_secs() < 30 {
            crossbeam_epoch::pin().defer(|| {
                if HELPING.get() {
                    // Another thread's driver may hold it for a moment; this thread's would hold it for ever.
                    let free = (0..1_000_000).any(|_| !DRIVER.load(Relaxed));
                    LOCKED.fetch_add(u32::from(!free), SeqCst);
                    step(); // nested: must come back at once
                    HELPED.fetch_add(1, SeqCst);
                }
            });
            demand(snapshot());
            step();
        }
        assert!(HELPED.load(SeqCst) >= ENOUGH && LOCKED.load(SeqCst) == 0, "{HELPED:?} {LOCKED:?}");
        assert!(!HELPING.get());
    }

    #[test]
    fn a_grace_period_waits_for_who_was_pinned_before() {
        let guard = crossbeam_epoch::pin();
        let position = snapshot();
        let waiter = std::thread::spawn(move || wait(position, Some(Duration::from_millis(50)), Pace::Normal));
        assert!(!waiter.join().unwrap());
        assert_eq!(stalled().map(|stall| stall.domain), Some("crossbeam-epoch"));
        drop(guard);
        assert!(wait(position, Some(Duration::from_secs(60)), Pace::Normal));
    }
}
