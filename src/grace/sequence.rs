//! The sequence number of grace periods, and positions in it.
//!
//! ```text
//!   value      0 ........ 1 ........ 2 ........ 3 ........ 4
//!                idle       running    idle       running
//!   a position taken here:  2          4          4          6        = the value at which a whole GP has passed since
//! ```
//!
//! A grace period that runs already may have looked at its readers before the object was unlinked, so it does not count:
//! a position taken meanwhile demands the end of the *next* one.
//!
//! **Position and start must not miss each other.** [`snapshot`](Sequence::snapshot): the caller's unlinking, a full
//! fence, load the value. [`begin`](Sequence::begin): store the odd value, a full fence, and only then look for readers.
//! Of the two fences one is first.
//! - The snapshot's: then the unlinking is visible to whoever becomes a reader after `begin`'s fence; a reader from
//!   before is one that this grace period waits for. So if the snapshot reads the even value, that is right; and if it
//!   reads the odd one it asks for more than it needs.
//! - `begin`'s: then the snapshot reads the odd value (or a later one), and demands the next grace period.

use crate::platform::delay;
use crate::platform::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};

/// Even: idle; odd: a grace period runs.
pub(crate) struct Sequence {
    value: AtomicU64,
}

impl Sequence {
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { value: AtomicU64::new(0) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { value: AtomicU64::new(0) }
    }

    /// The value at which a whole grace period has passed since now.
    pub(crate) fn snapshot(&self) -> u64 {
        fence(SeqCst); // pairs with the one in `begin`
        delay::point();
        (self.value.load(Relaxed) + 3) & !1
    }

    /// Whether the sequence has reached a position.
    pub(crate) fn has_elapsed(&self, position: u64) -> bool {
        self.value.load(Acquire) >= position // Acquire: pairs with the Release in `end`
    }

    /// The number of the grace period that runs.
    pub(crate) fn running(&self) -> Option<u64> {
        let value = self.value.load(Acquire); // Acquire: as in `has_elapsed`
        (value & 1 == 1).then_some(value)
    }

    /// How many grace periods have ended.
    #[cfg(not(loom))]
    pub(crate) fn ended(&self) -> u64 {
        self.value.load(Relaxed) / 2
    }

    /// Starts a grace period. Only for the driver, when none runs.
    pub(crate) fn begin(&self) -> u64 {
        let running = self.value.load(Relaxed) + 1;
        self.value.store(running, Release); // Release: who sees this value has also seen the `end` before it
        delay::point();
        fence(SeqCst); // pairs with the one in `snapshot`
        running
    }

    /// Ends it. Only for the driver, when its readers are gone.
    pub(crate) fn end(&self) {
        self.value.store(self.value.load(Relaxed) + 1, Release); // Release: what its readers did is over for who sees it
    }
}

#[cfg(all(test, loom))]
#[path = "sequence/model.rs"]
mod model;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_grace_period_that_runs_already_does_not_count() {
        let sequence = Sequence::new();
        let idle = sequence.snapshot();
        assert_eq!(sequence.begin(), 1);
        let running = sequence.snapshot();
        sequence.end();
        assert!(sequence.has_elapsed(idle) && !sequence.has_elapsed(running));
        assert_eq!(sequence.running(), None);
        assert_eq!(sequence.begin(), 3);
        sequence.end();
        assert!(sequence.has_elapsed(running));
    }
}
