//! Things whose destructors count, in every shape that `defer_drop` takes.
//!
//! **Invariant:** a thing is dropped once, whole: its pattern goes with it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::{os, require};

/// Destructors that have run in this process.
static DROPS: AtomicU64 = AtomicU64::new(0);
/// The thread that ran the newest, and how often that has changed.
static THREAD: AtomicU64 = AtomicU64::new(0);

const ALIVE: u64 = 0x6c69_7669_6e67_2121;

/// A thing that is counted when it is dropped.
#[derive(Debug)]
pub struct Counted {
    state: u64,
    /// Memory of its own.
    text: Box<str>,
}

/// Something known by nothing but this.
pub trait Thing: Send {}

impl Thing for Counted {}

impl Counted {
    /// A whole one.
    #[must_use]
    pub fn new() -> Self {
        Self { state: ALIVE, text: "counted when dropped".into() }
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        require!(self.state == ALIVE && &*self.text == "counted when dropped", "dropped twice, or damaged");
        self.state = 0;
        THREAD.store(os::thread_id(), Relaxed);
        DROPS.fetch_add(1, AcqRel);
    }
}

/// How many have been dropped in this process.
#[must_use]
pub fn drops() -> u64 {
    // Acquire: what the destructors did (their AcqRel).
    DROPS.load(Acquire)
}

/// The thread that dropped the newest.
#[must_use]
pub fn dropping_thread() -> u64 {
    THREAD.load(Relaxed)
}

/// Defers `rounds` times a thing, a trait object and a slice; returns how many destructors are due.
#[must_use]
pub fn defer(rounds: u64) -> u64 {
    let slice: fn() -> Box<[Counted]> = || (0..3).map(|_| Counted::new()).collect();
    for _ in 0..rounds {
        let thing: Box<dyn Thing> = Box::new(Counted::new());
        // SAFETY: from boxes, and nobody else has ever seen them.
        unsafe {
            gracealloc::defer_drop(Box::into_raw(Box::new(Counted::new())));
            gracealloc::defer_drop(Box::into_raw(thing));
            gracealloc::defer_drop(Box::into_raw(slice()));
        }
    }
    5 * rounds
}
