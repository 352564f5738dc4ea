//! Deferring an object: a push, and when the page is full, sealing it.
//!
//! Problem: a page waits for one grace period as a whole, so its stamp must be younger than the newest object in it,
//! and pushes need no lock that could tell when that is.
//!
//! Invariants:
//! - the cookie is taken after `replace` has put the page in hand: nobody is half-way through a push to it, and nobody
//!   can begin one. Where the thread is preempted or moved between the two, the cookie is only younger still;
//! - a page is queued under its own cookie, never added to one that was stamped before;
//! - the caller's object goes into the fresh page before that is installed, so it needs no second push.
//!
//! ```text
//!   defer   unlink ─ push ─ full ─> empty page ─ put the object in ─ seal
//!   seal    raise ─ peek ─ replace ─ ok ─> cookie ─ stamp, queue ─ lower
//!                    ^──── changed ──┘
//! ```

use crate::engine::Flow::{Again, Call, Next, Return};
use crate::engine::Step::{Arm, Private, Shared};
use crate::engine::{Cpu, Flow, Routine};
use crate::pages::{Bug, Deferral, EMPTY, Object, PageCore, PageId};
use crate::transit::{LOWER, RAISE};
use std::mem;

/// Unlinks and defers the next object of this thread.
pub(crate) static DEFER: Routine<Deferral> = Routine {
    name: "defer",
    steps: &[
        Shared("unlink", unlink),
        Private(|_| Call(&PUSH)),
        Private(|c| if c.registers.done { finish(c) } else { Next }),
        Shared("take an empty page, put the object in", |c| {
            let page = c.memory.empties.pop().expect("enough pages");
            let object = c.registers.freeing.take().expect("an object to free");
            c.memory.put_into(page, object);
            c.registers.fresh = Some(page);
            Next
        }),
        Private(|_| Call(&SEAL)),
        Private(finish),
    ],
};

/// What an atomic caller does that finds no page. Who finds the segment listed leaves it to the other to push it.
pub(crate) static DEFER_BY_MARK: Routine<Deferral> = Routine {
    name: "defer by mark",
    steps: &[
        Shared("unlink", unlink),
        Shared("set the object's bit", |c| {
            if c.memory.bug != Bug::MarkWithoutRelease {
                c.memory.flush(c.cpu);
            }
            c.memory.marks.objects |= 1 << c.registers.freeing.take().expect("an object to free");
            Next
        }),
        Shared("list the segment", |c| {
            let listed = mem::replace(&mut c.memory.marks.listed, true);
            if listed { finish(c) } else { Next }
        }),
        Shared("push the segment", |c| {
            c.memory.marks.stacked = true;
            finish(c)
        }),
    ],
};

/// The caller's part.
fn unlink(c: &mut PageCore) -> Flow<Deferral> {
    let object = c.memory.hands[c.thread].remove(0);
    c.memory.unlink(c.cpu, object);
    (c.registers.freeing, c.registers.deferring) = (Some(object), object);
    Next
}

/// `deferred_free` returns.
fn finish(c: &mut PageCore) -> Flow<Deferral> {
    c.memory.deferred |= 1 << c.registers.deferring;
    c.registers.deferring = 0;
    Return
}

/// As in `sections.rs`: `freeing` into the page of this CPU's slot, or `done` is false: full.
static PUSH: Routine<Deferral> = Routine {
    name: "push",
    steps: &[
        Arm,
        Shared("load page", |c| {
            c.registers.page = c.memory.slots[usize::from(c.cpu)];
            Next
        }),
        Shared("load count", |c| {
            let page = &c.memory.pages[c.registers.page];
            c.registers.count = page.count;
            c.registers.done = page.count < page.capacity;
            if c.registers.done { Next } else { Return }
        }),
        Shared("store object", |c| {
            let object = c.registers.freeing.expect("an object to free");
            c.memory.pages[c.registers.page].objects[usize::from(c.registers.count)] = object;
            Next
        }),
        Shared("commit: count + 1", |c| {
            c.memory.pages[c.registers.page].count = c.registers.count + 1;
            c.registers.freeing = None;
            Return
        }),
    ],
};

/// As in `sections.rs`: `fresh` into this CPU's slot and the peeked page into the hand, or `done` is false: changed.
static REPLACE: Routine<Deferral> = Routine {
    name: "replace",
    steps: &[
        Arm,
        Shared("commit: compare and swap", |c| {
            let slot = &mut c.memory.slots[usize::from(c.cpu)];
            c.registers.done = *slot == c.registers.peeked;
            if c.registers.done {
                *slot = c.registers.fresh.take().unwrap_or(EMPTY);
                hold(c, c.cpu, c.registers.peeked);
                c.registers.peeked = EMPTY;
            }
            Return
        }),
    ],
};

/// A page is in hand; EMPTY is nobody's.
pub(crate) fn hold(c: &mut PageCore, home: Cpu, page: PageId) {
    if page != EMPTY {
        c.registers.held.push((home, page));
    }
}

/// `fresh`, or EMPTY, into the slot of whatever CPU this is, and what was there into a queue.
pub(crate) static SEAL: Routine<Deferral> = Routine {
    name: "seal",
    steps: &[
        Private(|c| if c.memory.bug == Bug::RaiseAfterReplace { Next } else { Call(&RAISE) }),
        Private(|_| Call(&EXCHANGE)),
        Private(|c| if c.memory.bug == Bug::RaiseAfterReplace { Call(&RAISE) } else { Next }),
        Private(|_| Call(&STAMP)),
        Private(|c| if c.memory.bug == Bug::LowerBeforeQueue { Call(&LOWER) } else { Next }),
        Private(|_| Call(&QUEUE)),
        Private(|c| if c.memory.bug == Bug::LowerBeforeQueue { Next } else { Call(&LOWER) }),
    ],
};

static EXCHANGE: Routine<Deferral> = Routine {
    name: "seal",
    steps: &[
        Shared("peek", |c| {
            c.registers.peeked = c.memory.slots[usize::from(c.cpu)];
            Next
        }),
        Private(|c| if c.memory.bug == Bug::StampBeforeOwned { Call(&TAKE_COOKIE) } else { Next }),
        Private(|_| Call(&REPLACE)),
        Private(|c| if c.registers.done { Return } else { Again }),
    ],
};

/// One cookie for all pages in hand, unless a mutant has taken it already.
pub(crate) static STAMP: Routine<Deferral> =
    Routine { name: "stamp", steps: &[Private(|c| if c.registers.cookie == 0 { Call(&TAKE_COOKIE) } else { Next })] };

pub(crate) static TAKE_COOKIE: Routine<Deferral> = Routine {
    name: "stamp",
    steps: &[Shared("take a cookie", |c| {
        c.memory.flush(c.cpu); // a full fence, then the load
        c.registers.cookie = c.memory.grace.cookie(c.memory.bug);
        Next
    })],
};

/// The pages in hand into the queues they belong to, one by one.
pub(crate) static QUEUE: Routine<Deferral> = Routine {
    name: "queue",
    steps: &[
        Private(|c| {
            if c.registers.held.is_empty() {
                c.registers.cookie = 0;
                return Return;
            }
            Next
        }),
        Shared("queue a page", |c| {
            let (home, page) = c.registers.held.remove(0);
            queue(c.memory, usize::from(home), page, c.registers.cookie);
            Again
        }),
    ],
};

/// A page that a drain found empty has nothing to wait for.
fn queue(memory: &mut Deferral, home: usize, page: PageId, cookie: u8) {
    if memory.pages[page].count == 0 {
        memory.empties.push(page);
    } else if let Some(older) = older_with_room(memory, home, page) {
        let objects: Vec<Object> = memory.inside(page).to_vec();
        objects.into_iter().for_each(|object| memory.put_into(older, object));
        memory.pages[page].count = 0;
        memory.empties.push(page);
    } else {
        memory.pages[page].stamp = cookie;
        memory.pending[home].inbox.push(page);
    }
}

/// A mutant's choice: a stamped page that could take the objects as well.
fn older_with_room(memory: &Deferral, home: usize, page: PageId) -> Option<PageId> {
    let count = memory.pages[page].count;
    let has_room = |&&older: &&PageId| memory.pages[older].count + count <= memory.pages[older].capacity;
    let older = memory.pending[home].inbox.iter().find(has_room);
    older.copied().filter(|_| memory.bug == Bug::NewerMerged)
}
