//! Alloc and free over slots: the fast sections, and the exchange of whole magazines when one is used up.
//!
//! Problem: a thread carries a magazine between a slot and the depot over two sections, and between them it may be
//! preempted, moved, or interrupted by a handler that allocates.
//!
//! Invariants:
//! - what is taken from the depot is served from before it is installed, so an install that never comes loses nothing;
//! - the old magazine is not touched before replace has put it in hand;
//! - what is in hand is classified by the count it has now: the slot may have changed and changed back since the peek.
//!
//! ```text
//!   alloc   pop ─ empty ─> full one from the depot ─> take an object out ─┐
//!   free    push ─ full ─> empty one from the depot ─> put the object in ─┤
//!                                                                         v
//!                                           queue the old one <─ ok ─ replace <─ peek
//!                                                                         └changed─^
//! ```

use crate::case::Bug;
use crate::cells::{CellCore, Cells, EMPTY, Peeked};
use crate::engine::Flow::{Again, Call, Next, Return};
use crate::engine::Step::{Private, Shared};
use crate::engine::{Flow, Routine};
use crate::sections::{POP, PUSH, PUSH_COUNT_FIRST, REPLACE, REPLACE_IN_TWO};

mod tests;

pub(crate) static ALLOC: Routine<Cells> = Routine {
    name: "alloc",
    steps: &[
        Private(|_| Call(&POP)),
        Private(|c| if c.registers.done { Return } else { Next }),
        Shared("take a full magazine from the depot", |c| {
            c.registers.fresh = c.memory.fulls.pop();
            if c.registers.fresh.is_some() { Next } else { Return }
        }),
        Shared("serve the caller from it", |c| {
            let object = c.memory.take_out(c.registers.fresh.expect("was taken"));
            c.memory.give_to_user(c.thread, object);
            Next
        }),
        Private(|_| Call(&INSTALL)),
    ],
};

/// Frees the first object in the user's hand, if there is one.
pub(crate) static FREE: Routine<Cells> = Routine {
    name: "free",
    steps: &[
        Private(|c| {
            let hand = &mut c.memory.hands[c.thread];
            if hand.is_empty() {
                return Return;
            }
            c.registers.freeing = Some(hand.remove(0));
            Next
        }),
        Private(|c| match c.memory.bug {
            Bug::CountBeforeObject => Call(&PUSH_COUNT_FIRST),
            _ => Call(&PUSH),
        }),
        Private(|c| if c.registers.done { Return } else { Next }),
        Shared("take an empty magazine from the depot", take_empty),
        Private(|_| Call(&INSTALL)),
    ],
};

/// Puts the object in; without an empty magazine it stays with the user (who would give it to its span).
fn take_empty(c: &mut CellCore) -> Flow<Cells> {
    let object = c.registers.freeing.take().expect("an object to free");
    c.registers.fresh = c.memory.empties.pop();
    let Some(magazine) = c.registers.fresh else {
        c.memory.give_to_user(c.thread, object);
        return Return;
    };
    c.memory.put_into_empty(magazine, object);
    Next
}

/// `fresh` into the slot of whatever CPU this is, and what was there into the depot.
static INSTALL: Routine<Cells> = Routine {
    name: "install",
    steps: &[
        Shared("peek", |c| {
            let magazine = c.memory.slots[usize::from(c.cpu)];
            let count = c.memory.magazines[magazine].count;
            c.registers.peeked = Peeked { cpu: c.cpu, magazine, count };
            Next
        }),
        Private(|c| match c.memory.bug {
            Bug::TouchBeforeReplace => Call(&TOUCH),
            _ => Next,
        }),
        Private(|c| match c.memory.bug {
            Bug::ReplaceComparesThenStores => Call(&REPLACE_IN_TWO),
            _ => Call(&REPLACE),
        }),
        Private(|c| if c.registers.done { Next } else { Again }),
        Shared("queue the old magazine", |c| {
            let peeked = std::mem::take(&mut c.registers.peeked);
            queue(c, peeked.count)
        }),
    ],
};

/// Gives the magazine in hand to the depot, by the count it has now.
pub(crate) fn queue(c: &mut CellCore, peeked: u8) -> Flow<Cells> {
    let magazine = c.registers.held.take().expect("a magazine in hand");
    let count = match c.memory.bug {
        Bug::ClassifyByPeek => peeked,
        _ => c.memory.magazines[magazine].count,
    };
    match (magazine, count) {
        (EMPTY, _) if c.memory.bug != Bug::EmptyQueued => {}
        (_, 0) => c.memory.empties.push(magazine),
        _ => c.memory.fulls.push(magazine),
    }
    Return
}

/// A mutant: saves what the old magazine holds before it is owned.
static TOUCH: Routine<Cells> = Routine {
    name: "touch",
    steps: &[Shared("take an object out of the old magazine", |c| {
        let magazine = c.registers.peeked.magazine;
        if c.memory.magazines[magazine].count > 0 {
            let object = c.memory.take_out(magazine);
            c.memory.give_to_user(c.thread, object);
        }
        Next
    })],
};
