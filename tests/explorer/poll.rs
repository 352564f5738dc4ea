//! Polling: pages whose cookie has elapsed become the allocator's next full magazines.
//!
//! Problem: pages are queued by anybody at any time, not always in the order of their cookies, and a poller must
//! neither free one too early nor let go of one that a barrier looks for.
//!
//! Invariants:
//! - the oldest first, and stop at the first that is not ripe. A page queued late under an old cookie waits a little
//!   longer; none is freed on another's cookie;
//! - a page that is not ripe keeps its place in line. Pushed back it would come to stand behind newer ones, and a
//!   barrier that waited for its cookie finds it behind a page that is not ripe;
//! - the lock is held from the first look to the last: who has it can say that nothing older is left.
//!
//! ```text
//!   inbox  [..@4] [..@6]  <- push        lock ─ line += inbox, oldest first
//!   line   [..@2] [..@4] [..@6]                ripe? ─ yes ─> give back, again
//!            └ polled                                 no ──> unlock
//! ```

use crate::drain::next_cpu;
use crate::engine::Flow::{Again, Call, Next, Return};
use crate::engine::Step::{Private, Shared};
use crate::engine::{Flow, Routine};
use crate::pages::{Bug, Deferral, PageCore, Pending};
use std::mem;

/// All queues; one that is being polled is passed over.
pub(crate) static POLL: Routine<Deferral> =
    Routine { name: "poll", steps: &[Private(|_| Call(&TRY_QUEUE)), Private(next_cpu)] };

/// All queues; waits for one that is being polled.
pub(crate) static POLL_ALL: Routine<Deferral> = Routine {
    name: "poll all",
    steps: &[
        Private(
            |c| if c.memory.bug == Bug::BarrierSkipsLockedQueues { Call(&TRY_QUEUE) } else { Call(&WAIT_FOR_QUEUE) },
        ),
        Private(next_cpu),
    ],
};

static TRY_QUEUE: Routine<Deferral> = Routine {
    name: "poll",
    steps: &[Shared("try the lock", |c| if lock(c) { Next } else { Return }), Private(|_| Call(&POLL_LOCKED))],
};

static WAIT_FOR_QUEUE: Routine<Deferral> = Routine {
    name: "poll",
    steps: &[Shared("lock", |c| if lock(c) { Next } else { Again }), Private(|_| Call(&POLL_LOCKED))],
};

static POLL_LOCKED: Routine<Deferral> = Routine {
    name: "poll",
    steps: &[
        Shared("take the inbox", |c| {
            let pending = pending(c);
            pending.line.append(&mut pending.inbox);
            Next
        }),
        Private(|_| Call(&GIVE_BACK)),
        Shared("unlock", |c| {
            let unripe = c.memory.bug == Bug::UnripePushedBack;
            let pending = pending(c);
            if unripe {
                pending.inbox.append(&mut pending.line);
            }
            pending.locked = false;
            Next
        }),
    ],
};

static GIVE_BACK: Routine<Deferral> = Routine {
    name: "poll",
    steps: &[Shared("give the oldest back if it is ripe", |c| {
        let Some(&page) = pending(c).line.first() else { return Return };
        let (stamp, sequence) = (c.memory.pages[page].stamp, c.memory.grace.sequence);
        match c.memory.bug {
            Bug::PollSkipsTheCheck => give_back(c, 1),
            Bug::PollTrustsTheFirst if stamp <= sequence => {
                let all = pending(c).line.len();
                give_back(c, all)
            }
            Bug::PollComparesGreater if stamp == sequence => Return,
            _ if stamp <= sequence => give_back(c, 1),
            _ => Return,
        }
    })],
};

fn give_back(c: &mut PageCore, n: usize) -> Flow<Deferral> {
    let line = &mut pending(c).line;
    let rest = line.split_off(n);
    let ripe = mem::replace(line, rest);
    c.memory.ripe.extend(ripe);
    Again
}

fn lock(c: &mut PageCore) -> bool {
    !mem::replace(&mut pending(c).locked, true)
}

fn pending<'a>(c: &'a mut PageCore) -> &'a mut Pending {
    &mut c.memory.pending[usize::from(c.registers.at)]
}
