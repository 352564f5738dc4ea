//! A gate around short stretches of code that a fork must not cut in two: what they work on is somebody else's (an array
//! queue, crossbeam), and cannot be mended in the child.
//!
//! ```text
//!   enter: inside += 1; closed?  yes: inside -= 1, wait or go elsewhere          close: closed += 1
//!   leave: inside -= 1                                                                  wait for inside == 0
//! ```
//!
//! SeqCst: whoever enters sees that it is closed, or who closes sees it inside.

use super::{clock, thread};
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;

/// How many are inside, and how many forks want them out. Alone on its cache lines.
#[repr(align(128))]
pub(crate) struct Gate {
    inside: AtomicU32,
    closed: AtomicU32,
}

/// Somebody inside a [`Gate`].
pub(crate) struct Inside(&'static Gate);

impl Gate {
    pub(crate) const fn new() -> Self {
        Self { inside: AtomicU32::new(0), closed: AtomicU32::new(0) }
    }

    /// Enters unless the gate is closed.
    pub(crate) fn try_enter(&'static self) -> Option<Inside> {
        self.inside.fetch_add(1, SeqCst);
        let inside = Inside(self);
        (self.closed.load(SeqCst) == 0).then_some(inside) // else dropped: out again
    }

    /// Enters when the gate is open. May wait for a fork.
    pub(crate) fn enter(&'static self) -> Inside {
        loop {
            if let Some(inside) = self.try_enter() {
                return inside;
            }
            thread::pause();
        }
    }

    /// Closes the gate and waits until nobody is inside but `mine` of this thread, or for as long as `patience` says.
    pub(crate) fn close(&self, mine: u32, patience: Duration) {
        self.closed.fetch_add(1, SeqCst);
        wait_until(|| self.inside.load(SeqCst) <= mine, patience);
    }

    /// Opens it again.
    pub(crate) fn open(&self) {
        self.closed.fetch_sub(1, SeqCst);
    }

    /// In the child of a fork, before it is opened there: only this thread is left, and only it has closed the gate.
    pub(crate) fn restart(&self, mine: u32) {
        self.inside.store(mine, SeqCst);
        self.closed.store(1, SeqCst);
    }
}

/// How long a fork waits for what may take long, or never come to an end.
pub(crate) const FORK_PATIENCE: Duration = Duration::from_millis(100);

/// Lets others run until `done`, or for as long as `patience` says.
pub(crate) fn wait_until(done: impl Fn() -> bool, patience: Duration) {
    let begin = clock::now_ns();
    while !done() && u128::from(clock::now_ns().saturating_sub(begin)) < patience.as_nanos() {
        thread::pause();
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, SeqCst);
    }
}
