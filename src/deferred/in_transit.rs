//! Pages in hand: taken out of a slot and not queued yet. A barrier that looked at slots and queues alone would miss them.
//!
//! ```text
//!   in hand                                  barrier, after it has emptied all slots
//!     p = PARITY; cell.in_transit[p] += 1      PARITY ^= 1
//!     PARITY changed? take it back, again      wait until in_transit[old parity] is 0 in every cell
//!     take a page out of its slot
//!     stamp it, queue it
//!     cell.in_transit[p] -= 1
//! ```
//!
//! Whoever took a page before the barrier emptied its slot had come under the old parity, and rechecked it: all of that is
//! ordered before the flip, so the barrier sees the count and waits. Whoever comes later takes only newer pages. Two
//! parities, so that a stream of newcomers cannot keep a barrier waiting (the counter of SRCU, in the Linux kernel's
//! `kernel/rcu/srcutree.c`).
//!
//! A fork has to know as well, since what is in hand is lost in the child. It keeps out those who may wait, and waits until
//! nobody has anything in hand; not for ever, because atomic callers come and go. (A `Gate` would be one count that all CPUs
//! write.) Who waits here for a fork may hold locks that the fork does not take, and those of barriers and collectors,
//! which it takes before it closes: so none that it still wants.

use super::cells::{self, Cell};
use crate::platform::delay;
use crate::platform::gate::{FORK_PATIENCE, wait_until};
use crate::platform::lock::Lock;
use crate::platform::thread;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};

static PARITY: AtomicU32 = AtomicU32::new(0);
/// Threads that are forking.
static FORKS: AtomicU32 = AtomicU32::new(0);
/// One barrier at a time flips.
static FLIP: Lock<()> = Lock::new(());

/// As long as it lives, this thread may have pages in hand.
pub(super) struct InTransit(&'static AtomicU32);

impl InTransit {
    /// `may_wait`: the caller holds no lock of ours but those of barriers and collectors, and may block.
    pub(super) fn enter(cell: &'static Cell, may_wait: bool) -> Self {
        loop {
            let entered = Self::raise(cell);
            // SeqCst, with `lock_all`: either this thread sees the fork, or the fork sees the count.
            if !may_wait || FORKS.load(SeqCst) == 0 {
                return entered;
            }
            drop(entered);
            thread::pause();
        }
    }

    fn raise(cell: &'static Cell) -> Self {
        loop {
            let parity = PARITY.load(Relaxed);
            delay::point();
            let count = &cell.in_transit[parity as usize];
            // SeqCst, with the recheck and with `wait_for_all`: either this thread sees the flip and takes its count back,
            // or the barrier sees the count.
            count.fetch_add(1, SeqCst);
            delay::point();
            if PARITY.load(SeqCst) == parity {
                return Self(count);
            }
            count.fetch_sub(1, SeqCst);
        }
    }
}

impl Drop for InTransit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst); // releases the queueing to `wait_for_all`
    }
}

/// Waits until every page is queued that is in hand now. The caller has none.
pub(super) fn wait_for_all() {
    let _alone = FLIP.lock();
    let old = PARITY.fetch_xor(1, SeqCst);
    for cell in cells::all() {
        while cell.in_transit[old as usize].load(SeqCst) != 0 {
            thread::pause();
        }
    }
}

/// Before a fork: no barrier is flipping.
pub(super) fn lock_all() {
    core::mem::forget(FLIP.lock());
}

/// Before a fork, with the locks that are held by who has something in hand: waits until nobody has.
pub(super) fn close() {
    FORKS.fetch_add(1, SeqCst);
    wait_until(|| in_hand() == 0, FORK_PATIENCE);
}

/// After it.
pub(super) fn open() {
    FORKS.fetch_sub(1, SeqCst);
}

fn in_hand() -> u32 {
    cells::all().iter().flat_map(|cell| &cell.in_transit).map(|count| count.load(SeqCst)).sum()
}

/// After it.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(super) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    unsafe { FLIP.unlock() };
}

/// In the child of a fork, whose only thread has nothing in hand: what others had is lost. Returns for how many that was
/// so.
pub(super) fn restart() -> u32 {
    FORKS.store(1, SeqCst);
    let lost = in_hand();
    cells::all().iter().flat_map(|cell| &cell.in_transit).for_each(|count| count.store(0, Relaxed));
    lost
}
