//! Remote take: emptying the slot of a CPU that one is not on (trim, drain, an absent CPU).
//!
//! Problem: a section over there may have loaded the magazine before it is taken, and commits after. No atomic
//! instruction of the taker's can see it, and the section pays for none.
//!
//! Invariants:
//! - the magazine is taken by an atomic swap with EMPTY, so a replace on that CPU sees it taken or is seen by the taker;
//! - it is owned only after the membarrier: every section that could have loaded it has ended or starts again, and
//!   what starts again loads EMPTY.
//!
//! ```text
//!   cpu 0   load m ─ load count ─ load object ──────────────┐ commit: m.count - 1     too late: m is the taker's
//!   cpu 1        swap slot[0] <- EMPTY ─ membarrier ─────────┤ read m.count, take out, queue m
//!                                                           └ interrupted: cpu 0 starts again, finds EMPTY
//! ```

use crate::case::Bug;
use crate::cells::{CellCore, Cells, EMPTY};
use crate::engine::Flow::{Call, Membarrier, Next, Return};
use crate::engine::Step::{Private, Shared};
use crate::engine::{Flow, Routine};
use crate::slots::queue;
use std::mem;

mod tests;

/// Takes the magazine of CPU 0, gives its objects to the user and the magazine to the depot.
static TAKE: Routine<Cells> = Routine {
    name: "remote take",
    steps: &[
        Private(|c| match c.memory.bug {
            Bug::RemoteLoadsThenStores => Call(&SWAP_IN_TWO),
            _ => Call(&SWAP),
        }),
        Private(|c| match c.registers.held.take_if(|magazine| *magazine == EMPTY) {
            Some(_) => Return,
            None => Next,
        }),
        Shared("membarrier", |c| match c.memory.bug {
            Bug::RemoteWithoutMembarrier => Next,
            _ => Membarrier,
        }),
        Shared("read its count", |c| {
            if c.memory.bug != Bug::RemoteReadsBeforeMembarrier {
                read_count(c);
            }
            Next
        }),
        Shared("take its objects out", take_objects_out),
        Shared("queue it", |c| queue(c, 0)),
    ],
};

static SWAP: Routine<Cells> = Routine {
    name: "remote take",
    steps: &[Shared("swap EMPTY into the slot of cpu 0", |c| {
        c.registers.held = Some(mem::replace(&mut c.memory.slots[0], EMPTY));
        read_count_early(c);
        Next
    })],
};

/// What is installed between the two steps is overwritten.
static SWAP_IN_TWO: Routine<Cells> = Routine {
    name: "remote take (load, then store)",
    steps: &[
        Shared("load the slot of cpu 0", |c| {
            c.registers.peeked.magazine = c.memory.slots[0];
            Next
        }),
        Shared("store EMPTY into it", |c| {
            c.registers.held = Some(mem::take(&mut c.registers.peeked.magazine));
            c.memory.slots[0] = EMPTY;
            Next
        }),
    ],
};

fn read_count(c: &mut CellCore) {
    let magazine = c.registers.held.expect("a magazine in hand");
    c.registers.peeked.count = c.memory.magazines[magazine].count;
}

fn read_count_early(c: &mut CellCore) {
    if c.memory.bug == Bug::RemoteReadsBeforeMembarrier {
        read_count(c);
    }
}

fn take_objects_out(c: &mut CellCore) -> Flow<Cells> {
    let magazine = c.registers.held.expect("a magazine in hand");
    let count = mem::take(&mut c.registers.peeked.count);
    let page = &mut c.memory.magazines[magazine];
    page.count = 0;
    let objects = page.objects;
    let out = &objects[..usize::from(count)];
    out.iter().for_each(|&object| c.memory.give_to_user(c.thread, object));
    Next
}
