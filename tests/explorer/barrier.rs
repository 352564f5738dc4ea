//! `barrier`: everything deferred before it has been given back when it returns.
//!
//! Problem: an object that was deferred may be marked, in a slot, in the hand of a thread that seals or drains, in a
//! queue, or in the hand of a poller; each of them must be looked at in an order in which nothing slips past.
//!
//! Invariants:
//! - marks, then slots, then hands, then queues: what leaves a place goes to a later one only;
//! - marks are looked for where they are set, and not on the list of those who are to look: the list may be behind;
//! - the flip comes after the drain. What is raised after the flip takes pages out of slots that were drained, in
//!   which everything is younger than the barrier;
//! - the cookie comes after the wait for hands: a page queued during the wait may have a younger one than the
//!   barrier's beginning;
//! - the queues are polled under their locks, waiting for whoever has them.
//!
//! ```text
//!   marks ──> slots ──> hands ──────────> queues ─────────────> given back
//!     apply    drain     flip, wait for    cookie, wait for it,
//!                        count[*][old]     poll all
//! ```

use crate::defer::TAKE_COOKIE;
use crate::drain::{APPLY_ALL_MARKS, DRAIN, next_cpu};
use crate::engine::Flow::{Again, Call, Next, Return};
use crate::engine::Routine;
use crate::engine::Step::{Private, Shared};
use crate::pages::{Bug, Deferral};
use crate::poll::POLL_ALL;
use crate::transit::transit;

mod tests;

pub(crate) static BARRIER: Routine<Deferral> = Routine {
    name: "barrier",
    steps: &[
        Shared("begin", |c| {
            c.registers.due = c.memory.deferred;
            Next
        }),
        Private(|c| if c.memory.bug == Bug::FlipBeforeDrain { Call(&WAIT_FOR_HANDS) } else { Next }),
        Private(|c| if c.memory.bug == Bug::BarrierWithoutMarks { Next } else { Call(&APPLY_ALL_MARKS) }),
        Private(|c| if c.memory.bug == Bug::BarrierWithoutDrain { Next } else { Call(&DRAIN) }),
        Private(|c| if c.memory.bug == Bug::CookieBeforeWait { Call(&TAKE_COOKIE) } else { Next }),
        Private(|c| match c.memory.bug {
            Bug::FlipBeforeDrain | Bug::BarrierWithoutWait => Next,
            _ => Call(&WAIT_FOR_HANDS),
        }),
        Private(|c| if c.memory.bug == Bug::CookieBeforeWait { Next } else { Call(&TAKE_COOKIE) }),
        Private(|_| Call(&WAIT_FOR_COOKIE)),
        Private(|_| Call(&POLL_ALL)),
        Private(|c| {
            c.memory.left_behind |= c.registers.due & !c.memory.given_back();
            c.registers.due = 0;
            Return
        }),
    ],
};

static WAIT_FOR_HANDS: Routine<Deferral> = Routine {
    name: "barrier",
    steps: &[
        Shared("lock", |c| {
            let exclusive = c.memory.bug != Bug::BarriersNotSerialised;
            let transit = transit(c).expect("counted");
            if transit.flipping && exclusive {
                return Again;
            }
            transit.flipping = true;
            Next
        }),
        Shared("flip the index", |c| {
            let transit = transit(c).expect("counted");
            let old = transit.current;
            transit.current ^= 1;
            c.registers.old = old;
            Next
        }),
        Private(|_| Call(&HANDS_EMPTY)),
        Shared("unlock", |c| {
            transit(c).expect("counted").flipping = false;
            c.registers.old = 0;
            Next
        }),
    ],
};

static HANDS_EMPTY: Routine<Deferral> =
    Routine { name: "barrier", steps: &[Private(|_| Call(&HAND_EMPTY)), Private(next_cpu)] };

static HAND_EMPTY: Routine<Deferral> = Routine {
    name: "barrier",
    steps: &[Shared("wait for the next cpu's old count", |c| {
        let (cpu, old) = (usize::from(c.registers.at), usize::from(c.registers.old));
        if transit(c).expect("counted").counts[cpu][old] == 0 { Return } else { Again }
    })],
};

/// Who waits drives: one step of a grace period at a time.
static WAIT_FOR_COOKIE: Routine<Deferral> = Routine {
    name: "barrier",
    steps: &[Shared("push the grace period on", |c| {
        if c.memory.grace.sequence >= c.registers.cookie {
            c.registers.cookie = 0;
            return Return;
        }
        c.memory.grace.sequence += 1;
        Again
    })],
};
