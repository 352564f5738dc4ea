//! Draining: partial pages out of all slots, by a thread that is on none of their CPUs, and marks into pages.
//!
//! Problem: a page that never fills must not wait for ever, and a push over there may be half-way when it is taken.
//!
//! Invariants:
//! - the cookie is taken after the membarrier: a push that was half-way has committed before it, or starts again and
//!   finds EMPTY. One membarrier and one cookie serve all slots;
//! - marks are owned once they are swapped out, and the cookie is taken after that;
//! - what marks become is queued, not pushed into a slot: a barrier may have drained that slot already.
//!
//! ```text
//!   drain   raise ─ swap EMPTY into slot 0, 1, .. ─ membarrier ─ cookie ─ queue all ─ lower
//!   marks   raise ─ swap the bits out ──────────────────────────  cookie ─ queue ──── lower
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

/// Puts marked objects into a page (one is enough for these cases).
pub(crate) static APPLY_MARKS: Routine<Deferral> = Routine {
    name: "marks",
    steps: &[
        Private(|c| if c.memory.bug == Bug::MarksUncounted { Next } else { Call(&RAISE) }),
        Private(|c| if c.memory.bug == Bug::MarkStampedBeforeTaken { Call(&TAKE_COOKIE) } else { Next }),
        Shared("swap the marks out, into a page", |c| {
            let Some(&page) = c.memory.empties.last().filter(|_| c.memory.marks != 0) else { return Next };
            while let Some(object) = first_of(c.memory.marks) {
                c.memory.marks &= !(1 << object);
                c.memory.put_into(page, object);
            }
            c.memory.empties.pop();
            hold(c, 0, page);
            Next
        }),
        Private(|c| if c.memory.bug == Bug::MarksIntoSlots { Call(&INTO_SLOT) } else { Next }),
        Private(|_| Call(&STAMP)),
        Private(|_| Call(&QUEUE)),
        Private(|c| if c.memory.bug == Bug::MarksUncounted { Next } else { Call(&LOWER) }),
    ],
};

/// A mutant: deferred once more, and waiting with whatever comes.
static INTO_SLOT: Routine<Deferral> = Routine {
    name: "marks",
    steps: &[Shared("put the page into a slot", |c| {
        if let Some((home, page)) = c.registers.held.pop() {
            let old = mem::replace(&mut c.memory.slots[usize::from(home)], page);
            hold(c, home, old);
        }
        Next
    })],
};
