//! The readers of crossbeam-epoch's default collector.
//!
//! crossbeam shows neither its epoch nor its readers, but it runs a deferred function only when every guard that existed
//! as the function was sealed into its global queue is gone. So a grace period sends one such function as a *probe*:
//!
//! ```text
//!   begin   wanted = number
//!   help    pin; take `wanted`; defer(|| passed = number); flush       seals the probe, tries to advance the epoch,
//!                                                                      runs what is due: also the probe, in time
//!   over    passed >= number
//! ```
//!
//! The probe is sealed after the sequence says "started" (and after its fence), so guards from before are waited for; one
//! that pins later fences, and sees what was unlinked before. It stands behind older garbage in a queue: the length
//! of a grace period includes crossbeam's backlog.
//!
//! What is deferred in front of it, in the same bag, takes it down when it panics: so it gets a bag of its own, and one that
//! has not come through after a second is sent again.
//!
//! `pin` and `flush` allocate and run other crates' destructors: they are called with no lock of ours, and never from an
//! allocation or a free.

use super::domain::Domain;
use crate::platform::clock;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

pub(super) struct Crossbeam {
    /// The grace period that has no probe yet; 0 when there is none.
    wanted: AtomicU64,
    /// When the last probe was sent, in milliseconds.
    sent: AtomicU64,
    /// The newest one whose probe has come through.
    passed: AtomicU64,
}

/// A probe that has not come through for so long is sent again; more than one does no harm.
const RESEND_MS: u64 = 1000;

pub(super) static CROSSBEAM: Crossbeam =
    Crossbeam { wanted: AtomicU64::new(0), sent: AtomicU64::new(0), passed: AtomicU64::new(0) };

/// Has crossbeam make its collector.
pub(super) fn touch() {
    crossbeam_epoch::default_collector();
}

impl Domain for Crossbeam {
    fn name(&self) -> &'static str {
        "crossbeam-epoch"
    }

    fn begin(&self, number: u64) {
        self.sent.store(clock::now_ms(), Relaxed);
        // Release: who takes it in `help` seals after "started". A probe that is sent again may not displace a newer one.
        self.wanted.fetch_max(number, Release);
    }

    fn advance(&self, _number: u64) {}

    fn help(&self, number: u64) {
        if self.is_over(number) {
            return;
        }
        if clock::now_ms().saturating_sub(self.sent.load(Relaxed)) > RESEND_MS {
            self.begin(number);
        }
        let guard = crossbeam_epoch::pin();
        // AcqRel: one helper sends the probe; pairs with `begin`.
        let wanted = self.wanted.swap(0, AcqRel);
        if wanted != 0 {
            guard.flush(); // what others have deferred on this thread, in another bag
            guard.defer(move || CROSSBEAM.passed.fetch_max(wanted, Release));
        }
        guard.flush();
    }

    fn is_over(&self, number: u64) -> bool {
        self.passed.load(Acquire) >= number // Acquire: pairs with the Release in the probe
    }

    fn remaining(&self) -> Option<u64> {
        None // crossbeam does not say
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_that_is_sent_again_does_not_displace_a_newer_one() {
        let domain = Crossbeam { wanted: AtomicU64::new(0), sent: AtomicU64::new(0), passed: AtomicU64::new(0) };
        domain.begin(3); // the next grace period has begun
        domain.begin(1); // while a helper of the last one, held up, sends again
        assert_eq!(domain.wanted.load(Relaxed), 3);
    }
}
