//! Our own readers: counted in and out on the CPU they are on, without a fence and without an atomic instruction.
//!
//! ```text
//!   reader                                     grace period
//!                                                sequence: started
//!                                                full fence everywhere             FENCED
//!   [ p = parity; entered[p] += 1 ]              flip the parity everywhere
//!   reads ...                                    restart sections, full fence      FLIPPED
//!   [ left[p] += 1 ]                             sum of left[old], then of entered[old], until they are equal
//!                                                full fence everywhere             BALANCED
//! ```
//!
//! "Full fence everywhere" is a membarrier; on x86_64, where only a store is ever delayed (past later loads), the interrupt of
//! "restart sections" is the one that is needed, and the others are nothing (`platform::membarrier::order_all`).
//!
//! Square brackets are restartable sections. Why nobody is missed, for a reader and an object that a writer unlinked before it
//! took a position that ends with this grace period:
//! - **It entered under the old parity**: after "restart sections" nobody can add to the old parity's `entered` any more, since
//!   the parity is loaded *inside* the section; and what was added before is visible after the fence. So the sum has it, and
//!   is not equal until it has left. (SRCU, which loads its index outside, needs a second flip for the one who is late.)
//! - **It entered under the new one**: so it saw the flip, which came after the first fence, and that fence stands between
//!   on its CPU too: what it reads from there on it reads after the unlinking. It holds nothing of interest.
//! - **It has left**: its reads come before its `left`, for who sees that and then has every thread pass a fence. What
//!   the writer does to the object comes after the last fence.
//! - **The live parity is never looked at**: there a reader may be seen leaving on one CPU before it is seen entering
//!   on another, and the sums be equal with somebody inside. Under the old one `entered` stands still.
//!
//! Where records are shared (`platform::reader_counts`) atomic additions and a second look take the place of sections
//! and membarriers. If the kernel refuses a membarrier, the grace period stays where it is and asks again at the next step.
//!
//! The idea is that of SRCU-fast (`kernel/rcu/srcutree.c` in the Linux kernel, 6.15).

use super::domain::Domain;
use crate::platform::delay;
use crate::platform::reader_counts::Parity;
use crate::platform::readers;
use core::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

pub(super) struct Readers {
    /// How far the running grace period has got; the driver's own.
    stage: AtomicU32,
    /// The parity that it waits for, in bytes; 0 before the flip.
    retired: AtomicU64,
    /// The newest that has got through.
    passed: AtomicU64,
}

const STARTED: u32 = 0;
const FENCED: u32 = 1;
const FLIPPED: u32 = 2;
const BALANCED: u32 = 3;

pub(super) static READERS: Readers =
    Readers { stage: AtomicU32::new(STARTED), retired: AtomicU64::new(0), passed: AtomicU64::new(0) };

impl Readers {
    /// Does what comes next; false if that is not possible yet.
    fn proceed(&self, stage: u32, number: u64) -> bool {
        delay::point();
        match stage {
            STARTED => readers::fence() && self.reach(FENCED),
            FENCED => self.flip() && self.reach(FLIPPED),
            FLIPPED => self.remaining() == Some(0) && self.reach(BALANCED),
            _ => {
                let through = readers::fence();
                if through {
                    // Release: what the last fence ordered; pairs with the Acquire in `is_over`.
                    self.passed.store(number, Release);
                }
                through
            }
        }
    }

    fn reach(&self, stage: u32) -> bool {
        self.stage.store(stage, Relaxed);
        true
    }

    /// Flips once, and again asks for the membarriers that a kernel has refused.
    fn flip(&self) -> bool {
        if self.retired.load(Relaxed) == 0 {
            self.retired.store(readers::flip().bytes(), Relaxed);
        }
        delay::point();
        readers::settle()
    }
}

impl Domain for Readers {
    fn name(&self) -> &'static str {
        "gracealloc"
    }

    fn begin(&self, number: u64) {
        self.retired.store(0, Relaxed);
        self.stage.store(STARTED, Relaxed);
        self.advance(number);
    }

    fn advance(&self, number: u64) {
        while !self.is_over(number) && self.proceed(self.stage.load(Relaxed), number) {}
    }

    fn help(&self, _number: u64) {}

    fn is_over(&self, number: u64) -> bool {
        self.passed.load(Acquire) >= number // Acquire: pairs with the Release in `proceed`
    }

    fn remaining(&self) -> Option<u64> {
        Parity::from_bytes(self.retired.load(Relaxed)).map(readers::remaining)
    }
}

#[cfg(all(test, gracealloc_rseq))]
mod tests {
    use super::*;
    use crate::GraceAlloc;
    use crate::grace::{DRIVER, SEQUENCE};
    use crate::platform::membarrier::tests::{Call, calls};
    use crate::platform::slots::{Mode, mode};
    use core::alloc::GlobalAlloc;

    /// Which fences x86's own order makes needless, no test that runs there can tell: so they are counted.
    #[test]
    fn a_grace_period_makes_every_call() {
        let layout = core::alloc::Layout::new::<u64>();
        // SAFETY: the layout has a size; freed once. From here on there are cells.
        unsafe { GraceAlloc.dealloc(GraceAlloc.alloc(layout), layout) };
        drop(crate::read()); // and from here on records are open
        if mode() != Some(Mode::Rseq) {
            return;
        }
        while DRIVER.swap(true, Acquire) || SEQUENCE.0.running().is_some() {
            DRIVER.store(false, Release);
            crate::synchronize();
        }
        let domain = Readers { stage: AtomicU32::new(0), retired: AtomicU64::new(0), passed: AtomicU64::new(0) };
        calls();
        let stages = [STARTED, FENCED, FLIPPED, BALANCED].map(|stage| {
            while !domain.proceed(stage, 1) {} // a reader of another test
            (calls(), domain.retired.load(Relaxed) != 0, domain.is_over(1))
        });
        DRIVER.store(false, Release);
        let expected = [
            (vec![Call::Fence], false, false),
            (vec![Call::Restart, Call::Fence], true, false),
            (vec![], true, false),
            (vec![Call::Fence], true, true),
        ];
        assert_eq!(stages, expected);
    }
}
