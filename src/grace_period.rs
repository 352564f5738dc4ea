//! Waiting for readers, and positions in the sequence of grace periods.

use crate::context::{Context, context};
use crate::grace::Pace;
use crate::platform::errno;
use crate::{deferred, grace};
use core::fmt;
use core::time::Duration;

/// Waits until every reader has left that is active now.
///
/// Readers hold a guard of [`read`](crate::read), of [`read_owned`](crate::read_owned), or of crossbeam-epoch's default
/// collector. Those that begin later are not waited
/// for, so this ends even if there is always one. What was deferred is not necessarily given back when it returns: that
/// is [`barrier`](crate::barrier).
///
/// A reader that never leaves makes it wait for ever; [`synchronize_timeout`] does not. Functions that other code has deferred
/// with crossbeam may run meanwhile.
///
/// # Panics
/// - If the calling thread is a reader, or in an [`atomic_section`](crate::atomic_section): it would wait for itself. Who
///   holds an [`OwnedReadGuard`](crate::OwnedReadGuard) is not noticed, and waits for ever.
/// - If a function that other code has deferred with crossbeam panics.
///
/// # Examples
/// ```
/// gracealloc::synchronize();
/// ```
pub fn synchronize() {
    expect_preemptible("synchronize");
    let _errno = errno::Saved::new();
    grace::wait(grace::snapshot(), None, Pace::Normal);
}

/// As [`synchronize`], at the price of this CPU: it looks again and again without a pause, and sleeps only while it gets
/// nowhere for long.
///
/// # Panics
/// - As [`synchronize`].
///
/// # Examples
/// ```
/// gracealloc::synchronize_expedited();
/// ```
pub fn synchronize_expedited() {
    expect_preemptible("synchronize_expedited");
    let _errno = errno::Saved::new();
    grace::wait(grace::snapshot(), None, Pace::Expedited);
}

/// As [`synchronize`], but gives up after `limit`.
///
/// # Errors
/// - [`Stalled`]: a reader has not left in time, or crossbeam's backlog was too long. Functions of that backlog are not cut
///   short.
///
/// # Panics
/// - As [`synchronize`].
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// let (held, hold) = std::sync::mpsc::channel::<()>();
/// let (pinned, is_pinned) = std::sync::mpsc::channel();
/// let reader = std::thread::spawn(move || {
///     let _guard = crossbeam_epoch::pin();
///     pinned.send(()).unwrap();
///     let _ = hold.recv();
/// });
/// is_pinned.recv().unwrap();
/// let stalled = gracealloc::synchronize_timeout(Duration::from_millis(20)).unwrap_err();
/// assert_eq!(stalled.domain, "crossbeam-epoch");
/// drop(held);
/// reader.join().unwrap();
/// assert!(gracealloc::synchronize_timeout(Duration::from_secs(60)).is_ok());
/// ```
pub fn synchronize_timeout(limit: Duration) -> Result<(), Stalled> {
    expect_preemptible("synchronize_timeout");
    let _errno = errno::Saved::new();
    if grace::wait(grace::snapshot(), Some(limit), Pace::Normal) {
        return Ok(());
    }
    let over = grace::Stall { domain: "no domain any more", age: Duration::ZERO, readers: None };
    let grace::Stall { domain, age, readers } = grace::stalled().unwrap_or(over);
    Err(Stalled { domain, age, readers })
}

/// A grace period did not end in time; see [`synchronize_timeout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stalled {
    /// The kind of reader that it waits for; "no domain any more" if it ended just then.
    pub domain: &'static str,
    /// How long it has been running, which is not how long the caller has waited.
    pub age: Duration,
    /// About how many readers it waits for: by how much those who entered under the retired parity outnumber those who
    /// have left. Of crossbeam's readers nothing is known, and of nobody which thread it is.
    pub readers: Option<u64>,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a grace period has been waiting for {:?} for ", self.age)?;
        self.readers.map_or(Ok(()), |n| write!(f, "{n} "))?;
        write!(f, "readers of {}", self.domain)
    }
}

impl core::error::Error for Stalled {}

/// A position in the sequence of grace periods: it has *elapsed* when every reader has left that was active when it was
/// taken.
///
/// The kernel's `get_state_synchronize_rcu()` and `poll_state_synchronize_rcu()`.
///
/// # Examples
/// ```
/// use gracealloc::GraceCookie;
///
/// let cookie = GraceCookie::now();
/// cookie.wait();
/// assert!(cookie.is_elapsed());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GraceCookie(u64);

impl GraceCookie {
    /// The position now. It alone asks for no grace period: [`start`](Self::start), [`wait`](Self::wait) and deferrals do, and
    /// without any of them it never elapses.
    pub fn now() -> Self {
        Self(grace::snapshot())
    }

    /// The position now, and a grace period is asked for, so that it elapses by itself (or by [`drive`](crate::drive)).
    pub fn start() -> Self {
        let cookie = Self::now();
        grace::demand(cookie.0);
        if context() != Context::Atomic {
            let _errno = errno::Saved::new();
            deferred::wake_worker();
        }
        cookie
    }

    /// Whether a whole grace period has passed since. Where the caller may, it pushes on by a step what somebody has asked
    /// for, which may run functions that other code has deferred with crossbeam.
    pub fn is_elapsed(&self) -> bool {
        if !grace::has_elapsed(self.0) && context() == Context::Preemptible {
            let _errno = errno::Saved::new();
            grace::step();
        }
        grace::has_elapsed(self.0)
    }

    /// Waits for it, for ever if a reader does not leave.
    ///
    /// # Panics
    /// - As [`synchronize`], unless it has elapsed.
    pub fn wait(&self) {
        if !grace::has_elapsed(self.0) {
            expect_preemptible("GraceCookie::wait");
            let _errno = errno::Saved::new();
            grace::wait(self.0, None, Pace::Normal);
        }
    }
}

/// Refuses callers that would wait for themselves.
pub(crate) fn expect_preemptible(what: &str) {
    match context() {
        Context::Preemptible => {}
        Context::Reader => panic!("gracealloc::{what} by a reader would wait for itself"),
        Context::Atomic => panic!("gracealloc::{what} in an atomic section must not block"),
    }
}
