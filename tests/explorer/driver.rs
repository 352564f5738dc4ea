//! Grace periods over counted readers: the driver, the writer that it works for, and who opens the records of CPUs.
//!
//! Problem: flip and sums go from record to record while readers come and go, and nothing stands still but what the
//! membarriers make to.
//!
//! Invariants:
//! - begin, fence, flip: who enters under the new parity sees what was unlinked before whoever took a position did so;
//! - flip, restart, sums: who enters under the old one is in them. `left` before `entered`, which then cannot be behind;
//! - sums, fence, end: who has left has read what it read;
//! - records are opened under the driver's lock, behind a fence, with the parity of those who come now.
//!
//! ```text
//!   driver   begin ─ FENCE ─ flip 0, 1, shared ─ RESTART ─ left 0, 1, shared ─ entered 0, 1, shared ─ FENCE ─ end
//!   writer   unlink ─ position ─────────────────────────────────────────────────────────── reached? ─ free
//!   open     lock ─ FENCE ─ parity into 0, 1 ─ unlock
//! ```

use crate::counts::{Bug, CountCore, Counts, Parity, index, other};
use crate::engine::Flow::{Again, Call, Fence, Membarrier, Next, Return};
use crate::engine::Step::{Private, Shared};
use crate::engine::{Flow, Routine};

/// One grace period after the other, as long as somebody wants one.
pub(crate) static DRIVE: Routine<Counts> = Routine {
    name: "drive",
    steps: &[
        Shared("lock, begin", |c| {
            if c.memory.freed {
                return Return;
            }
            if c.memory.locked || c.memory.sequence >= c.memory.demand {
                return Again;
            }
            c.memory.locked = true;
            c.memory.sequence += u8::from(c.memory.bug != Bug::FlipBeforeBegin);
            Next
        }),
        Private(|_| Call(&WAIT_FOR_READERS)),
        Shared("end, unlock", |c| {
            c.registers.parity = 0;
            c.memory.locked = false;
            c.memory.sequence += 1;
            Again
        }),
    ],
};

static WAIT_FOR_READERS: Routine<Counts> = Routine {
    name: "drive",
    steps: &[
        Shared("first fence", |c| if c.memory.bug == Bug::NoFirstFence || c.memory.in_order { Next } else { fence(c) }),
        Private(|c| {
            c.registers.parity = c.memory.records[c.memory.shared()].parity;
            if c.memory.bug == Bug::LiveParityTested { Call(&SUM) } else { Next }
        }),
        Private(|c| if c.memory.bug == Bug::LiveParityTested && is_through(c) { Return } else { Next }),
        Private(|_| Call(&FLIP)),
        Private(|c| if c.memory.bug == Bug::FlipBeforeBegin { Call(&BEGIN_LATE) } else { Next }),
        Shared("restart sections", |c| match c.memory.bug {
            Bug::NoSettle => Next,
            Bug::FenceForRestart => fence(c),
            _ if c.memory.open => Membarrier,
            _ => Next,
        }),
        Private(|_| Call(&READERS_LEFT)),
        Shared("last fence", |c| if c.memory.bug == Bug::NoLastFence || c.memory.in_order { Next } else { fence(c) }),
    ],
};

static BEGIN_LATE: Routine<Counts> = Routine {
    name: "drive",
    steps: &[Shared("begin", |c| {
        c.memory.sequence += 1;
        Next
    })],
};

/// Readers of the shared record make their own.
fn fence(c: &CountCore) -> Flow<Counts> {
    if c.memory.open { Fence } else { Next }
}

static FLIP: Routine<Counts> = Routine {
    name: "drive",
    steps: &[Shared("flip the next record", |c| {
        let at = usize::from(c.registers.at);
        let forgotten = at == 0 && c.memory.bug == Bug::OneRecordNotFlipped;
        if (c.memory.open || at == c.memory.shared()) && !forgotten {
            c.memory.records[at].parity = other(c.registers.parity);
        }
        next_record(c)
    })],
};

/// Once more for the next record; returns after the last.
fn next_record(c: &mut CountCore) -> Flow<Counts> {
    c.registers.at = (c.registers.at + 1) % c.memory.records.len() as u8;
    if c.registers.at == 0 { Return } else { Again }
}

static READERS_LEFT: Routine<Counts> = Routine {
    name: "drive",
    steps: &[
        Private(|_| Call(&SUM)),
        Private(|c| if is_through(c) { Return } else { Next }),
        Private(|c| if c.memory.opens { Call(&LET_GO) } else { Again }),
        Private(|_| Again),
    ],
};

fn is_through(c: &mut CountCore) -> bool {
    std::mem::take(&mut c.registers.left) == std::mem::take(&mut c.registers.entered)
}

/// Between two looks the driver goes away.
static LET_GO: Routine<Counts> = Routine {
    name: "drive",
    steps: &[
        Shared("unlock", |c| {
            c.memory.locked = false;
            Next
        }),
        Private(|_| Call(&LOCK)),
    ],
};

static LOCK: Routine<Counts> = Routine {
    name: "drive",
    steps: &[Shared("lock", |c| if std::mem::replace(&mut c.memory.locked, true) { Again } else { Next })],
};

static SUM: Routine<Counts> = Routine {
    name: "drive",
    steps: &[
        Private(|c| Call(if c.memory.bug == Bug::EnteredBeforeLeft { &ADD_ENTERED } else { &ADD_LEFT })),
        Private(|c| Call(if c.memory.bug == Bug::EnteredBeforeLeft { &ADD_LEFT } else { &ADD_ENTERED })),
    ],
};

static ADD_LEFT: Routine<Counts> = Routine {
    name: "drive",
    steps: &[Shared("add the next record's left", |c| {
        let at = usize::from(c.registers.at);
        if counts(c, at) {
            c.registers.left += c.memory.records[at].left[index(c.registers.parity)];
        }
        next_record(c)
    })],
};

static ADD_ENTERED: Routine<Counts> = Routine {
    name: "drive",
    steps: &[Shared("add the next record's entered", |c| {
        let at = usize::from(c.registers.at);
        if counts(c, at) {
            c.registers.entered += c.memory.records[at].entered[index(c.registers.parity)];
        }
        next_record(c)
    })],
};

fn counts(c: &CountCore, at: usize) -> bool {
    match c.memory.bug {
        Bug::OneRecordForgotten => at != 0,
        Bug::SharedRecordForgotten => at != c.memory.shared(),
        _ => true,
    }
}

/// Unlinks the object, takes a position, and frees it when that is reached. Fences are the loom model's business.
pub(crate) static WRITE: Routine<Counts> = Routine {
    name: "write",
    steps: &[
        Shared("unlink", |c| {
            c.memory.linked = false;
            Next
        }),
        Shared("take a position", |c| {
            let odd = c.memory.sequence % 2;
            let trusts = c.memory.bug == Bug::PositionTrustsTheRunning;
            c.registers.position = c.memory.sequence
                + if odd == 0 {
                    2
                } else if trusts {
                    1
                } else {
                    3
                };
            c.memory.demand = c.memory.demand.max(c.registers.position);
            Next
        }),
        Private(|_| Call(&FREE)),
    ],
};

static FREE: Routine<Counts> = Routine {
    name: "write",
    steps: &[Shared("free, if the position is reached", |c| {
        c.memory.freed = c.memory.sequence >= c.registers.position;
        if c.memory.freed { Next } else { Again }
    })],
};

/// Gives the records of CPUs a parity; leaves it to another time if somebody drives.
pub(crate) static OPEN: Routine<Counts> = Routine {
    name: "open",
    steps: &[
        Shared("try the lock", |c| {
            let free = !c.memory.locked || c.memory.bug == Bug::OpenedWithoutLock;
            c.memory.locked |= free;
            if free { Next } else { Return }
        }),
        Shared("fence", |c| if c.memory.bug == Bug::OpenedWithoutFence { Next } else { Fence }),
        Shared("load the parity", |c| {
            c.memory.open = true;
            c.registers.parity = parity_to_show(c);
            Next
        }),
        Private(|_| Call(&SHOW)),
        Shared("unlock", |c| {
            c.memory.locked = false;
            c.registers.parity = 0;
            Next
        }),
    ],
};

fn parity_to_show(c: &CountCore) -> Parity {
    match c.memory.bug {
        Bug::OpenedUnderTheFirstParity => 1,
        _ => c.memory.records[c.memory.shared()].parity,
    }
}

static SHOW: Routine<Counts> = Routine {
    name: "open",
    steps: &[Shared("open the next record", |c| {
        c.memory.records[usize::from(c.registers.at)].parity = c.registers.parity;
        next_record(c)
    })],
};
