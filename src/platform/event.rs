//! Something that happens again and again, and that threads wait for.

use super::futex;
use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;

/// Counts what happened; costs who makes it happen a system call only if somebody sleeps.
pub(crate) struct Event {
    count: AtomicU32,
    sleepers: AtomicU32,
}

impl Event {
    pub(crate) const fn new() -> Self {
        Self { count: AtomicU32::new(0), sleepers: AtomicU32::new(0) }
    }

    /// What to wait on: read it, then look at the condition, then [`wait`](Self::wait).
    pub(crate) fn now(&self) -> u32 {
        self.count.load(SeqCst)
    }

    /// Sleeps until it happens once more than when `seen` was read, or the limit is over.
    pub(crate) fn wait(&self, seen: u32, limit: Duration) {
        // SeqCst, here and in `signal`: either the signaller sees a sleeper, or the sleeper (and then the kernel, which
        // compares once more) sees the count.
        self.sleepers.fetch_add(1, SeqCst);
        if self.now() == seen {
            futex::wait(&self.count, seen, Some(limit));
        }
        self.sleepers.fetch_sub(1, SeqCst);
    }

    /// It happens: wakes whoever sleeps.
    pub(crate) fn signal(&self) {
        self.count.fetch_add(1, SeqCst);
        if self.sleepers.load(SeqCst) != 0 {
            futex::wake(&self.count, i32::MAX);
        }
    }

    /// Whether anybody sleeps: a hint.
    pub(crate) fn has_sleepers(&self) -> bool {
        self.sleepers.load(SeqCst) != 0
    }

    /// In the child of a fork: nobody sleeps there.
    pub(crate) fn restart(&self) {
        self.sleepers.store(0, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sleeps_through_what_happens() {
        let (event, rounds) = (Event::new(), if cfg!(miri) { 10 } else { 2_000 });
        let round = AtomicU32::new(0);
        std::thread::scope(|s| {
            s.spawn(|| {
                for n in 1..=rounds {
                    round.store(n, SeqCst);
                    event.signal();
                    while round.load(SeqCst) != 0 {
                        std::thread::yield_now();
                    }
                }
            });
            for n in 1..=rounds {
                loop {
                    let seen = event.now();
                    if round.load(SeqCst) == n {
                        break;
                    }
                    event.wait(seen, Duration::from_secs(60)); // a lost wake-up would show as a minute
                }
                round.store(0, SeqCst);
            }
        });
    }
}
