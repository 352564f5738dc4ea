//! Draining: partial pages out of all slots, by a thread that is on none of their CPUs, and marks into pages.
//!
//! Problem: a page that never fills must not wait for ever, and a push over there may be half-way when it is taken.
//!
//! Invariants:
//! - the cookie is taken after the membarrier: a push that was half-way has committed before it, or starts again and
//!   finds EMPTY. One membarrier serves all slots; that one cookie does so too is the model's simplification;
//! - marks are owned once they are swapped out, and the cookie is taken after that;
//! - the lock of the marks is held until what they became is queued: who has it can say that nobody has any in hand.
//!
//! ```text
//!   drain   raise ─ swap EMPTY into slot 0, 1, .. ─ membarrier ─ cookie ─ queue all ─ lower
//!   marks   lock ── swap the bits out ──────────────────────────  cookie ─ queue ──── unlock
//! ```

use crate::defer::{QUEUE, STAMP, TAKE_COOKIE, hold};
use crate::engine::Flow::{Again, Call, Membarrier, Next, Return};
use crate::engine::Step::{Private, Shared};
use crate::engine::{Cpu, Flow, Routine};
use crate::pages::{Bug, Deferral, EMPTY, PageCore, first_of};
use crate::transit::{LOWER, RAISE};
use std::mem;

pub(crate) static DRAIN: Routine<Deferral> = Routine {
    name: "drain",
    steps: &[
        Private(|c| if c.memory.bug == Bug::DrainRaisesAfterSwap { Next } else { Call(&RAISE) }),
        Private(|_| Call(&SWAP_SLOTS)),
        Private(|c| if c.memory.bug == Bug::DrainRaisesAfterSwap { Call(&RAISE) } else { Next }),
        Private(|c| if c.memory.bug == Bug::StampBeforeMembarrier { Call(&STAMP) } else { Next }),
        Shared("membarrier", |c| if c.memory.bug == Bug::DrainWithoutMembarrier { Next } else { Membarrier }),
        Private(|_| Call(&STAMP)),
        Private(|_| Call(&QUEUE)),
        Private(|_| Call(&LOWER)),
    ],
};

static SWAP_SLOTS: Routine<Deferral> = Routine {
    name: "drain",
    steps: &[
        Shared("swap EMPTY into the next slot", |c| {
            let page = mem::replace(&mut c.memory.slots[usize::from(c.registers.at)], EMPTY);
            hold(c, c.registers.at, page);
            Next
        }),
        Private(next_cpu),
    ],
};

/// Once more for the next CPU; returns after the last.
pub(crate) fn next_cpu(c: &mut PageCore) -> Flow<Deferral> {
    c.registers.at = (c.registers.at + 1) % c.memory.slots.len() as Cpu;
    if c.registers.at == 0 { Return } else { Again }
}

/// Puts the marked objects of listed segments into pages; lets others go on who are at it.
pub(crate) static APPLY_MARKS: Routine<Deferral> = Routine {
    name: "marks",
    steps: &[
        Private(|c| if c.memory.bug == Bug::MarkStampedBeforeTaken { Call(&TAKE_COOKIE) } else { Next }),
        Shared("try the lock", |c| if lock_marks(c) { Next } else { Return }),
        Private(|_| Call(&TAKE_LISTED)),
        Private(|_| Call(&FINISH_MARKS)),
    ],
};

/// All marked objects, listed or not: who has marked one may rely on somebody else for the listing.
pub(crate) static APPLY_ALL_MARKS: Routine<Deferral> = Routine {
    name: "all marks",
    steps: &[
        Private(|_| Call(&WAIT_FOR_MARKS)),
        Private(|c| if c.memory.bug == Bug::MarksFoundByTheList { Call(&TAKE_LISTED) } else { Call(&TAKE_MARKS) }),
        Private(|_| Call(&FINISH_MARKS)),
    ],
};

static WAIT_FOR_MARKS: Routine<Deferral> =
    Routine { name: "all marks", steps: &[Shared("lock", |c| if lock_marks(c) { Return } else { Again })] };

fn lock_marks(c: &mut PageCore) -> bool {
    !mem::replace(&mut c.memory.marks.locked, true) || c.memory.bug == Bug::MarksNotLocked
}

static TAKE_LISTED: Routine<Deferral> = Routine {
    name: "marks",
    steps: &[
        Shared("pop the segment", |c| if mem::take(&mut c.memory.marks.stacked) { Next } else { Return }),
        Shared("not listed any more", |c| {
            c.memory.marks.listed = false;
            Next
        }),
        Private(|_| Call(&TAKE_MARKS)),
    ],
};

/// One page is enough for these cases.
static TAKE_MARKS: Routine<Deferral> = Routine {
    name: "marks",
    steps: &[Shared("swap the bits out, into a page", |c| {
        if c.memory.marks.objects == 0 {
            return Next;
        }
        let page = c.memory.empties.pop().expect("enough pages");
        while let Some(object) = first_of(c.memory.marks.objects) {
            c.memory.marks.objects &= !(1 << object);
            c.memory.put_into(page, object);
        }
        hold(c, 0, page);
        Next
    })],
};

static FINISH_MARKS: Routine<Deferral> = Routine {
    name: "marks",
    steps: &[
        Private(|_| Call(&STAMP)),
        Private(|_| Call(&QUEUE)),
        Shared("unlock", |c| {
            c.memory.marks.locked = false;
            Next
        }),
    ],
};
