//! Readers of our own, step by step: counted in on the CPU they are on, counted out on whatever CPU they end.
//!
//! Problem: a reader may be preempted, moved, or interrupted by one more between any two steps, and the grace period that
//! must see it looks at one record at a time. Grace periods are in `driver.rs`, the memory in `counts.rs`.
//!
//! Invariants:
//! - the parity is loaded inside the section that counts under it: a membarrier after the flip restarts who has the old one;
//! - where a record is shared, a second look at the parity takes the place of that restart;
//! - a reader leaves under the parity that it entered under, on any record;
//! - each guard is a reader of its own: what was found under one is kept by that one.
//!
//! ```text
//!   enter   [ parity of this CPU's record ─ entered + 1 ]        closed ─> shared: parity ─ entered + 1 ─ parity again?
//!   look      the pointer, perhaps loaded ahead of all that                           ^──── left + 1 ── changed ──┘
//!   leave   [ open? ─ left + 1 ]                                 closed ─> shared: left + 1
//! ```

use crate::counts::{Bug, CountCore, Counts, index};
use crate::engine::Flow::{Again, Call, Next, Return};
use crate::engine::Routine;
use crate::engine::Step::{Arm, Private, Shared};

mod tests;

/// A load that the CPU makes before what the program has in front of it.
pub(crate) static LOAD_AHEAD: Routine<Counts> = Routine {
    name: "read",
    steps: &[Shared("the pointer is loaded ahead", |c| {
        let linked = (!c.memory.in_order).then_some(c.memory.linked);
        if let Some(hardware) = c.memory.hardware.get_mut(usize::from(c.cpu)) {
            hardware.ahead = linked;
        }
        Next
    })],
};

pub(crate) static ENTER: Routine<Counts> = Routine {
    name: "enter",
    steps: &[
        Private(|c| if c.memory.bug == Bug::ParityOutsideTheSection { Call(&LOAD_OUTSIDE) } else { Next }),
        Private(|_| Call(&COUNT_IN)),
        Private(|c| if c.registers.done { Return } else { Next }),
        Private(|_| Call(&ENTER_SHARED)),
    ],
};

static COUNT_IN: Routine<Counts> = Routine {
    name: "enter",
    steps: &[
        Arm,
        Shared("load the parity", |c| {
            c.registers.loaded = match c.registers.outside {
                0 => c.memory.records[usize::from(c.cpu)].parity,
                outside => outside,
            };
            c.registers.done = c.registers.loaded != 0;
            if c.registers.done { Next } else { Return }
        }),
        Shared("commit: entered + 1", |c| {
            c.memory.hardware[usize::from(c.cpu)].buffered[index(c.registers.loaded)] += 1;
            c.registers.guards.push(c.registers.loaded);
            Return
        }),
    ],
};

static LOAD_OUTSIDE: Routine<Counts> = Routine {
    name: "enter (parity first)",
    steps: &[Shared("load the parity", |c| {
        c.registers.outside = c.memory.records[usize::from(c.cpu)].parity;
        Next
    })],
};

/// Atomic additions, with a full fence behind them.
pub(crate) static ENTER_SHARED: Routine<Counts> = Routine {
    name: "enter",
    steps: &[
        Shared("load the shared parity", |c| {
            c.registers.parity = c.memory.records[c.memory.shared()].parity;
            Next
        }),
        Shared("shared entered + 1", |c| {
            let shared = c.memory.shared();
            c.memory.fence(c.cpu);
            c.memory.records[shared].entered[index(c.registers.parity)] += 1;
            if c.memory.bug == Bug::NoSecondLook { entered_shared(c) } else { Next }
        }),
        Shared("look again", |c| {
            let same = c.memory.records[c.memory.shared()].parity == c.registers.parity;
            if same { entered_shared(c) } else { Next }
        }),
        Shared("take it back: shared left + 1", |c| {
            let shared = c.memory.shared();
            c.memory.records[shared].left[index(c.registers.parity)] += 1;
            Again
        }),
    ],
};

fn entered_shared(c: &mut CountCore) -> crate::engine::Flow<Counts> {
    let parity = std::mem::take(&mut c.registers.parity);
    c.registers.guards.push(parity);
    Return
}

pub(crate) static LOOK: Routine<Counts> = Routine {
    name: "read",
    steps: &[Shared("load the pointer", |c| {
        let ahead = c.memory.hardware.get_mut(usize::from(c.cpu)).and_then(|hardware| hardware.ahead.take());
        c.registers.has_object |= ahead.unwrap_or(c.memory.linked);
        Next
    })],
};

/// The oldest guard first, though any order would do.
pub(crate) static LEAVE: Routine<Counts> = Routine {
    name: "leave",
    steps: &[
        Private(|_| Call(&COUNT_OUT)),
        Private(|c| if c.registers.done { Return } else { Next }),
        Private(|_| Call(&LEAVE_SHARED)),
    ],
};

static COUNT_OUT: Routine<Counts> = Routine {
    name: "leave",
    steps: &[
        Arm,
        Shared("load the parity: open?", |c| {
            c.registers.done = c.memory.records[usize::from(c.cpu)].parity != 0;
            if c.registers.done { Next } else { Return }
        }),
        Shared("commit: left + 1", |c| {
            let late = c.registers.has_object && !c.memory.in_order;
            count_out(c, usize::from(c.cpu));
            c.memory.hardware[usize::from(c.cpu)].late |= late && !c.registers.has_object;
            Return
        }),
    ],
};

/// An atomic addition that releases.
pub(crate) static LEAVE_SHARED: Routine<Counts> = Routine {
    name: "leave",
    steps: &[Shared("shared left + 1", |c| {
        c.memory.release(c.cpu);
        if c.memory.bug == Bug::LeftOnClosedRecordForgotten && c.memory.opens {
            c.registers.guards.remove(0);
            c.registers.has_object = false;
            return Next;
        }
        count_out(c, c.memory.shared());
        Next
    })],
};

fn count_out(c: &mut CountCore, record: usize) {
    let own = c.registers.guards.remove(0);
    let record = &mut c.memory.records[record];
    let parity = if c.memory.bug == Bug::LeftUnderTheCurrentParity { record.parity } else { own };
    record.left[index(parity)] += 1;
    // Found under the oldest guard, which is this one.
    c.registers.has_object &= c.memory.bug == Bug::KeptUnderAYoungerGuard && !c.registers.guards.is_empty();
}

/// An owned guard goes to another thread, through something that releases and acquires.
pub(crate) static HAND_OVER: Routine<Counts> = Routine {
    name: "hand over",
    steps: &[Shared("send the guard", |c| {
        c.memory.release(c.cpu);
        c.memory.handed = Some((c.registers.guards.remove(0), c.registers.has_object));
        c.registers.has_object = false;
        Next
    })],
};

pub(crate) static RECEIVE: Routine<Counts> = Routine {
    name: "receive",
    steps: &[Shared("receive the guard", |c| {
        let Some((parity, has_object)) = c.memory.handed.take() else { return Again };
        c.registers.guards.push(parity);
        c.registers.has_object = has_object;
        Next
    })],
};

/// Stores become visible at any time.
pub(crate) static HARDWARE: Routine<Counts> = Routine {
    name: "hardware",
    steps: &[Shared("a store becomes visible", |c| {
        let waiting = c.memory.hardware.iter().position(|hardware| hardware.buffered != [0; 2]);
        match waiting {
            Some(cpu) => c.memory.release(cpu as u8),
            None if c.memory.freed => return Return,
            None => {}
        }
        Again
    })],
};
