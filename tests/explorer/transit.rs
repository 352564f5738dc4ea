//! Pages in hand, counted: what `barrier` waits for between draining the slots and polling the queues.
//!
//! Problem: a page that a thread has taken out of a slot and not queued yet is nowhere to be found, and the objects in
//! it were deferred long ago, by others too.
//!
//! Invariants:
//! - the count is raised before the page leaves its slot, and lowered after the page is queued: the same record, the
//!   same index;
//! - who raised under an index has seen, after raising, that this is the current one. So a count under the old index
//!   that a barrier saw at zero stays without pages until that index is current again;
//! - barriers flip one after the other: two at once would flip the index back, and the second wait for the wrong side.
//!
//! ```text
//!            current                         count[cpu][0]   count[cpu][1]
//!   before   0       raise ──> here          . 1 .           . . .
//!   flip     1       raise ──> there         . 1 .           . 1 .
//!                    barrier waits until     . . .  are zero
//! ```

use crate::engine::Flow::{Again, Next, Return};
use crate::engine::Step::{Private, Shared};
use crate::engine::{Cpu, Flow, Routine};
use crate::pages::{Bug, Deferral, PageCore};

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Transit {
    pub(crate) current: u8,
    pub(crate) counts: Vec<[i8; 2]>,
    /// A barrier is between its flip and the end of its wait.
    pub(crate) flipping: bool,
}

impl Transit {
    pub(crate) fn new(cpus: usize) -> Self {
        Transit { current: 0, counts: vec![[0; 2]; cpus], flipping: false }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.counts.iter().flatten().all(|&count| count == 0)
    }
}

/// Where nobody calls `barrier` the steps are not there.
pub(crate) fn transit<'a>(c: &'a mut PageCore) -> Option<&'a mut Transit> {
    c.memory.transit.as_mut()
}

/// Counts this thread as one with pages in hand.
pub(crate) static RAISE: Routine<Deferral> = Routine {
    name: "raise",
    steps: &[
        Private(|c| if c.memory.transit.is_none() { Return } else { Next }),
        Shared("load the current index", |c| {
            let record = c.cpu % c.memory.slots.len() as Cpu; // a bystander uses some cell, too
            c.registers.raised = (record, transit(c).expect("counted").current);
            Next
        }),
        Shared("count + 1", |c| add(c, 1)),
        Shared("load the current index again", |c| {
            let same = transit(c).expect("counted").current == c.registers.raised.1;
            if same || c.memory.bug == Bug::RaiseWithoutRecheck { Return } else { Next }
        }),
        Shared("count - 1", |c| {
            add(c, -1);
            Again
        }),
    ],
};

pub(crate) static LOWER: Routine<Deferral> = Routine {
    name: "lower",
    steps: &[
        Private(|c| if c.memory.transit.is_none() { Return } else { Next }),
        Shared("count - 1", |c| {
            match c.memory.bug {
                Bug::LowerUnderCurrentIndex => c.registers.raised.1 = transit(c).expect("counted").current,
                Bug::LowerOnThisCpu => c.registers.raised.0 = c.cpu % c.memory.slots.len() as Cpu,
                _ => {}
            }
            add(c, -1);
            c.registers.raised = (0, 0);
            Next
        }),
    ],
};

fn add(c: &mut PageCore, n: i8) -> Flow<Deferral> {
    let (record, index) = c.registers.raised;
    transit(c).expect("counted").counts[usize::from(record)][usize::from(index)] += n;
    Next
}
