//! The three sections of a slot, step by step, as the assembly has them.
//!
//! Problem: each is one atomic change of a slot to whoever shares its CPU, without an atomic instruction.
//!
//! Invariants:
//! - the commit is the last step, and nothing before it changes what is below a count;
//! - the CPU is read inside the section; the capacity is read from the magazine that is pushed to;
//! - an answer other than the commit's leaves the section without a trace.
//!
//! ```text
//!   pop                    push                          replace(expected, new)
//!     store rseq_cs          store rseq_cs                 store rseq_cs
//!     cpu                    cpu                           cpu
//!     m = slot[cpu]          m = slot[cpu]
//!     k = m.count            k = m.count
//!       0: empty               m.capacity: full
//!     p = m.objects[k-1]     m.objects[k] = p
//!     m.count = k-1  <- commit -> m.count = k+1            cas slot[cpu]: expected -> new   <- commit
//! ```
//!
//! The mutants of sections stand beside the routine whose order they break.

use crate::case::Bug;
use crate::cells::{CAPACITY, CellCore, Cells};
use crate::engine::Flow::{Next, Return};
use crate::engine::Step::{Arm, Private, Shared};
use crate::engine::{Flow, Routine};

/// Into the user's hand, or `done` is false: empty.
pub(crate) static POP: Routine<Cells> = Routine {
    name: "pop",
    steps: &[
        Arm,
        Private(read_cpu),
        Shared("load magazine", load_magazine),
        Shared("load count", |c| {
            load_count(c);
            leave_if(c, c.registers.count == 0)
        }),
        Shared("load object", |c| {
            let page = &c.memory.magazines[c.registers.magazine];
            c.registers.object = page.objects[usize::from(c.registers.count) - 1];
            Next
        }),
        Shared("commit: count - 1", |c| {
            assert_current(c);
            c.memory.magazines[c.registers.magazine].count = c.registers.count - 1;
            c.memory.give_to_user(c.thread, c.registers.object);
            c.registers.done = true;
            Return
        }),
    ],
};

/// Takes `freeing`, or `done` is false: full.
pub(crate) static PUSH: Routine<Cells> = Routine {
    name: "push",
    steps: &[
        Arm,
        Private(read_cpu),
        Shared("load magazine", load_magazine),
        Shared("load count", load_count),
        Private(compare_with_capacity),
        Shared("store object", store_object),
        Shared("commit: count + 1", |c| {
            assert_current(c);
            store_count(c);
            c.registers.freeing = None;
            Return
        }),
    ],
};

/// The count first: an abort between the stores leaves a count without its object.
pub(crate) static PUSH_COUNT_FIRST: Routine<Cells> = Routine {
    name: "push (count first)",
    steps: &[
        Arm,
        Private(read_cpu),
        Shared("load magazine", load_magazine),
        Shared("load count", load_count),
        Private(compare_with_capacity),
        Shared("store count + 1", store_count),
        Shared("store object", |c| {
            store_object(c);
            c.registers.freeing = None;
            Return
        }),
    ],
};

/// `fresh` into the slot and the peeked magazine into `held`, or `done` is false: changed.
pub(crate) static REPLACE: Routine<Cells> = Routine {
    name: "replace",
    steps: &[
        Arm,
        Private(read_cpu),
        Shared("commit: compare and swap", |c| {
            let same = slot_is_as_peeked(c);
            match leave_if(c, !same && c.memory.bug != Bug::ReplaceWithoutCompare) {
                Next => store_slot(c),
                leave => leave,
            }
        }),
    ],
};

/// The compare and the store as two steps: enough against the same CPU, not against a remote swap.
pub(crate) static REPLACE_IN_TWO: Routine<Cells> = Routine {
    name: "replace (compare, then store)",
    steps: &[
        Arm,
        Private(read_cpu),
        Shared("compare", |c| {
            let same = slot_is_as_peeked(c);
            leave_if(c, !same)
        }),
        Shared("commit: store", store_slot),
    ],
};

fn read_cpu(c: &mut CellCore) -> Flow<Cells> {
    c.registers.cpu = match c.memory.bug {
        Bug::ReplaceOnPeekedCpu if c.registers.fresh.is_some() => c.registers.peeked.cpu,
        _ => c.cpu,
    };
    Next
}

fn load_magazine(c: &mut CellCore) -> Flow<Cells> {
    c.registers.magazine = c.memory.slots[usize::from(c.registers.cpu)];
    Next
}

fn load_count(c: &mut CellCore) -> Flow<Cells> {
    c.registers.count = c.memory.magazines[c.registers.magazine].count;
    Next
}

fn compare_with_capacity(c: &mut CellCore) -> Flow<Cells> {
    let capacity = match c.memory.bug {
        Bug::ConstantCapacity => CAPACITY,
        _ => c.memory.magazines[c.registers.magazine].capacity,
    };
    leave_if(c, c.registers.count >= capacity)
}

fn store_object(c: &mut CellCore) -> Flow<Cells> {
    let page = &mut c.memory.magazines[c.registers.magazine];
    page.objects[usize::from(c.registers.count)] = c.registers.freeing.expect("an object to free");
    Next
}

/// The assembly for x86_64 changes the count where it stands. That is the same, since nobody has written it meanwhile.
fn assert_current(c: &CellCore) {
    let is_current = c.memory.magazines[c.registers.magazine].count == c.registers.count;
    assert!(is_current || c.memory.bug != Bug::None, "the count has changed inside a section");
}

fn store_count(c: &mut CellCore) -> Flow<Cells> {
    c.memory.magazines[c.registers.magazine].count = c.registers.count + 1;
    Next
}

fn slot_is_as_peeked(c: &CellCore) -> bool {
    c.memory.slots[usize::from(c.registers.cpu)] == c.registers.peeked.magazine
}

fn store_slot(c: &mut CellCore) -> Flow<Cells> {
    c.memory.slots[usize::from(c.registers.cpu)] = c.registers.fresh.take().expect("a magazine to install");
    c.registers.held = Some(c.registers.peeked.magazine);
    Return
}

/// Ends the section without a commit, or goes on with the answer "done".
fn leave_if(c: &mut CellCore, leave: bool) -> Flow<Cells> {
    c.registers.done = !leave;
    if leave { Return } else { Next }
}
