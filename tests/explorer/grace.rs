//! Grace periods and the readers they wait for: the clock that deferred pages are stamped with.
//!
//! Problem: a page may be given back when every reader that could have seen one of its objects has left, and nobody
//! knows the readers; there is only a number that moves.
//!
//! Invariants:
//! - even: idle; odd: a grace period runs. It ends when every reader that its probe saw has left;
//! - the probe comes after the beginning. A reader that it misses entered later than whoever took a cookie before;
//! - a cookie names the end of the first grace period that *begins* after it was taken: in idle times the next end,
//!   else the one after the next, since the grace period that runs may have probed before the reader entered.
//!
//! ```text
//!   sequence   0 ──begin── 1 ──probe──────end── 2 ──begin── 3 ──────end── 4
//!   cookie     taken here: 2 │ taken here: 4    │ taken here: 4
//!   reader                     └──sees the object── may be ended by 4, not by 2
//! ```
//!
//! What the model knows beyond the number: which readers are inside now, and for each unlinked object which of those
//! that could have seen it have not left (`seen_by`). The store that unlinks may stay in a store buffer until its CPU
//! takes a cookie (a fence), is interrupted or switches threads; until then readers that enter find the object, too.
//! The fences between readers and driver are the loom model's business.

use crate::engine::Flow::{Again, Call, Next, Return};
use crate::engine::Step::{Private, Shared};
use crate::engine::{Cpu, Routine};
use crate::pages::{Bug, Deferral, Object, PageCore};

/// Readers, a bit each: the thread's number.
pub(crate) type Readers = u8;

/// Those that are still to come: who enters now can find the object, too.
const LATER: Readers = 0x80;

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Grace {
    pub(crate) sequence: u8,
    /// Those inside.
    pub(crate) readers: Readers,
    /// Those that the grace period under way waits for.
    awaited: Readers,
}

impl Grace {
    /// The sequence at which a whole grace period will have passed.
    pub(crate) fn cookie(&self, bug: Bug) -> u8 {
        match self.sequence {
            even if even % 2 == 0 => even + 2,
            odd if bug == Bug::CookieTrustsTheRunning => odd + 1,
            odd => odd + 3,
        }
    }
}

/// The driver: one whole grace period.
pub(crate) static GRACE_PERIOD: Routine<Deferral> = Routine {
    name: "grace period",
    steps: &[
        Shared("begin", |c| {
            if c.memory.bug == Bug::ProbeBeforeBegin {
                probe(c);
            } else {
                c.memory.grace.sequence += 1;
            }
            Next
        }),
        Shared("probe", |c| {
            if c.memory.bug == Bug::ProbeBeforeBegin {
                c.memory.grace.sequence += 1;
            } else {
                probe(c);
            }
            Next
        }),
        Private(|_| Call(&READERS_LEFT)),
        Shared("end", |c| {
            c.memory.grace.sequence += 1;
            Next
        }),
    ],
};

static READERS_LEFT: Routine<Deferral> = Routine {
    name: "grace period",
    steps: &[Shared("wait for readers", |c| if c.memory.grace.awaited == 0 { Return } else { Again })],
};

/// One step by whoever drives; for cases without readers, in which nothing else moves the sequence.
pub(crate) static DRIVE: Routine<Deferral> = Routine {
    name: "drive",
    steps: &[Shared("push the grace period on", |c| {
        c.memory.grace.sequence += 1;
        Next
    })],
};

fn probe(c: &mut PageCore) {
    c.memory.grace.awaited = c.memory.grace.readers;
}

/// A read section: it may have in hand whatever was not unlinked when it began.
pub(crate) static READ: Routine<Deferral> = Routine {
    name: "read",
    steps: &[
        Shared("enter", |c| {
            c.memory.grace.readers |= 1 << c.thread;
            Next
        }),
        Shared("leave", |c| {
            let stay = !(1 << c.thread);
            c.memory.grace.readers &= stay;
            c.memory.grace.awaited &= stay;
            c.memory.seen_by.iter_mut().for_each(|readers| *readers &= stay);
            Next
        }),
    ],
};

impl Deferral {
    /// From here on no new reader finds the object; with store buffers: on this CPU.
    pub(crate) fn unlink(&mut self, cpu: Cpu, object: Object) {
        self.flush(cpu); // one store at a time is enough
        self.buffered[usize::from(cpu)] = Some(object);
        self.seen_by[usize::from(object)] = LATER;
        if !self.buffers {
            self.flush(cpu);
        }
    }

    /// What this CPU has unlinked is seen by all: whoever is inside may have it in hand, nobody who comes.
    pub(crate) fn flush(&mut self, cpu: Cpu) {
        // A thread without sections has no store buffer here: its steps are fences.
        if let Some(object) = self.buffered.get_mut(usize::from(cpu)).and_then(Option::take) {
            self.seen_by[usize::from(object)] = self.grace.readers;
        }
    }
}

/// The memory system: store buffers empty themselves at any time.
pub(crate) static STORE_BUFFERS: Routine<Deferral> = Routine {
    name: "store buffers",
    steps: &[Shared("a store becomes visible", |c| {
        let memory = &mut *c.memory;
        match memory.buffered.iter().position(Option::is_some) {
            Some(cpu) => memory.flush(cpu as Cpu),
            None if memory.hands.iter().all(Vec::is_empty) => return Return,
            None => {}
        }
        Again
    })],
};
