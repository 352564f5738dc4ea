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

use super::cells::{self, Cell};
use crate::platform::lock::Lock;
use crate::platform::thread;
use core::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};

static PARITY: AtomicU32 = AtomicU32::new(0);
/// One barrier at a time flips.
static FLIP: Lock<()> = Lock::new(());

/// As long as it lives, this thread may have pages in hand.
pub(super) struct InTransit(&'static AtomicU32);

impl InTransit {
    pub(super) fn enter(cell: &'static Cell) -> Self {
        loop {
            let parity = PARITY.load(Relaxed);
            let count = &cell.in_transit[parity as usize];
            // SeqCst, with the recheck and with `wait_for_all`: either this thread sees the flip and takes its count back,
            // or the barrier sees the count.
            count.fetch_add(1, SeqCst);
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

/// After it.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(super) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    unsafe { FLIP.unlock() };
}

/// In the child of a fork, whose only thread has nothing in hand: what others had is lost.
pub(super) fn restart() {
    cells::all().iter().flat_map(|cell| &cell.in_transit).for_each(|count| count.store(0, Relaxed));
}
