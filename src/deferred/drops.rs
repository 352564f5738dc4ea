//! Values whose destructors wait for a grace period: a function and a pointer each.
//!
//! ```text
//!   preemptible, reader --> ArrayQueue, bounded --+--> run, in order, when their time has come: on the worker; where there
//!        full, and waited --> records --\         |    is none, in `drive` and `barrier`
//!   atomic ------> records made beforehand -------+
//! ```
//!
//! An array queue is not lock-free in the strict sense: an operation stopped half-way can make one nested in it spin, and
//! a child that is forked then spins for ever. So atomic callers take records instead, made beforehand for them alone, and
//! a fork waits for who is inside the queue (`INSIDE`, a gate).
//!
//! Destructors are other people's code: they run with no lock of ours but `RUNNING`, which keeps others from running
//! destructors, and outside of every slow path. One that panics ends the process.

use super::cells;
use super::in_transit::InTransit;
use super::pending::{Pending, Stamped};
use crate::arena::{Arena, Record};
use crate::context::InCrossbeam;
use crate::grace;
use crate::platform::event::Event;
use crate::platform::fatal::report;
use crate::platform::gate::Gate;
use crate::platform::thread;
use crate::slow_path::SlowPath;
use crate::tagged_stack::{Nodes, TaggedStack};
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use core::time::Duration;
use crossbeam_queue::ArrayQueue;
use once_cell::race::OnceBox;

/// A pointer to any value: thin, or with a length or a table.
pub(crate) type Object = MaybeUninit<[*mut u8; 2]>;

/// What is to be done to it.
#[derive(Clone, Copy)]
pub(crate) struct Destructor {
    pub(crate) function: unsafe fn(Object),
    pub(crate) object: Object,
}

struct Entry {
    destructor: Destructor,
    stamp: u64,
}

// SAFETY: the values are `Send`, and entries have one owner at a time.
unsafe impl Send for Entry {}

/// Entries that preemptible callers can leave before they have to wait. A queue of so many is small enough for a class, and
/// so the reserve can serve it.
const ENTRIES: usize = 512;
/// Records that are kept for atomic callers: numbers `1..=POOL`, whoever used them first.
const POOL: u32 = 64;

static QUEUE: OnceBox<ArrayQueue<Entry>> = OnceBox::new();
/// Around every operation on the queue, and on `FRONT`.
static INSIDE: Gate = Gate::new();
/// The oldest entry, taken off the queue before its time; with `RUNNING`.
static FRONT: Front = Front(UnsafeCell::new(None));
/// Somebody runs destructors.
static RUNNING: AtomicBool = AtomicBool::new(false);

struct Front(UnsafeCell<Option<Entry>>);

// SAFETY: reached only by who has set `RUNNING`; pointers in entries came from `Send` values.
unsafe impl Sync for Front {}

/// An entry outside of the queue. Its fields but `link` belong to who took the record off a stack or the pending ones.
struct Single {
    link: AtomicU32,
    stamp: AtomicU64,
    destructor: UnsafeCell<MaybeUninit<Destructor>>,
}

// SAFETY: `destructor` may be anything, zero too; the rest are atomics.
unsafe impl Record for Single {
    const FIRST: u32 = 64;
}
// SAFETY: one owner at a time, of a value that is `Send`.
unsafe impl Sync for Single {}

static ARENA: Arena<Single> = Arena::new();
/// Unused records: those for atomic callers, and the others.
static RESERVED: TaggedStack = TaggedStack::new();
static UNUSED: TaggedStack = TaggedStack::new();
static PENDING: Pending = Pending::new();

struct ByNumber;

impl Nodes for ByNumber {
    fn link(&self, index: u32) -> &AtomicU32 {
        &ARENA.get(index).link
    }
}

impl Stamped for ByNumber {
    fn stamp(&self, index: u32) -> &AtomicU64 {
        &ARENA.get(index).stamp
    }
}

/// Entries left, calls begun, and calls that have returned.
static LEFT: AtomicU64 = AtomicU64::new(0);
static BEGUN: AtomicU64 = AtomicU64::new(0);
static RUN: AtomicU64 = AtomicU64::new(0);
/// Values that nobody will drop: there was no memory for their entry.
pub(super) static LEAKED: AtomicU64 = AtomicU64::new(0);
/// Rounds of destructors begun and ended, and that one has ended.
static ROUNDS_BEGUN: AtomicU64 = AtomicU64::new(0);
static ROUNDS_ENDED: AtomicU64 = AtomicU64::new(0);
static ROUND_ENDED: Event = Event::new();

thread_local! {
    /// This thread is in a destructor that we called.
    static DROPPING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a destructor that we called.
pub(crate) fn is_dropping() -> bool {
    DROPPING.get()
}

/// Entries that wait; about, while others come and go.
pub(super) fn pending() -> u64 {
    let run = RUN.load(Acquire); // first: what it counts was left before
    LEFT.load(Relaxed).saturating_sub(run)
}

/// Whether any entry waits.
pub(super) fn is_pending() -> bool {
    pending() != 0
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    Yes,
    /// The queue is full: who may wait waits, others take a record.
    Full,
    NoMemory,
}

/// Leaves an entry in the queue, or with `anywhere`, if that is full, in a record. The caller may block, or is a reader.
pub(crate) fn leave(destructor: Destructor, anywhere: bool) -> Left {
    let queue = {
        let _critical = InCrossbeam::enter(); // it ends the process without memory
        QUEUE.get_or_init(|| Box::new(ArrayQueue::new(ENTRIES)))
    };
    let _slow = SlowPath::enter();
    let Some(cell) = cells::here() else { return Left::NoMemory };
    let inside = INSIDE.enter();
    let _in_transit = InTransit::enter(cell, true);
    LEFT.fetch_add(1, Relaxed);
    let stamp = grace::snapshot();
    grace::demand(stamp);
    let mut left = Left::Yes;
    if queue.push(Entry { destructor, stamp }).is_err() {
        drop(inside);
        left = if anywhere { in_record(destructor, unused_or_new()) } else { Left::Full };
    }
    LEFT.fetch_sub(u64::from(left != Left::Yes), Relaxed);
    left
}

/// Leaves an entry in a record that was made beforehand; in any context.
pub(crate) fn leave_in_pool(destructor: Destructor) -> Left {
    let Some(cell) = cells::here() else { return Left::NoMemory };
    let _in_transit = InTransit::enter(cell, false);
    LEFT.fetch_add(1, Relaxed);
    let left = in_record(destructor, RESERVED.pop(&ByNumber));
    LEFT.fetch_sub(u64::from(left != Left::Yes), Relaxed);
    left
}

fn in_record(destructor: Destructor, record: Option<u32>) -> Left {
    let Some(number) = record else { return Left::NoMemory };
    // SAFETY: off its stack, so ours.
    unsafe { (*ARENA.get(number).destructor.get()).write(destructor) };
    PENDING.stamp_and_push(&ByNumber, number);
    Left::Yes
}

fn unused_or_new() -> Option<u32> {
    UNUSED.pop(&ByNumber).or_else(|| ARENA.make().map(|(number, _)| number))
}

/// Makes the records for atomic callers; once. Takes a lock: not in atomic context.
pub(super) fn make_pool() {
    for _ in 0..POOL {
        if let Some((number, _)) = ARENA.make() {
            give_back(number);
        }
    }
}

fn give_back(number: u32) {
    let stack = if number <= POOL { &RESERVED } else { &UNUSED };
    stack.push(&ByNumber, number);
}

/// Runs the destructors whose time has come, those that come of age meanwhile too, unless somebody else does. Returns
/// whether it was its turn.
pub(super) fn run() -> bool {
    // Acquire and Release: one after the other has the front entry, and sees what destructors did.
    if RUNNING.swap(true, Acquire) {
        return false;
    }
    let round = ROUNDS_BEGUN.fetch_add(1, SeqCst) + 1;
    fence(SeqCst); // pairs with the one in `run_patiently`: a round that it does not count sees what was left before it
    while let Some(destructor) = next_entry().or_else(next_single) {
        call(destructor);
    }
    RUNNING.store(false, Release);
    ROUNDS_ENDED.fetch_max(round, Release); // Release: what the destructors did, for `run_patiently`
    ROUND_ENDED.signal();
    true
}

/// Waits until everything has run whose time has come. `hurry_worker` says whether there is a worker to run it; else it
/// runs here.
pub(super) fn run_patiently(hurry_worker: impl Fn() -> bool) {
    // A round that begins after this finds everything whose time has come now.
    fence(SeqCst); // pairs with the one in `run`
    let before = ROUNDS_BEGUN.load(SeqCst);
    while ROUNDS_ENDED.load(Acquire) <= before {
        let seen = ROUND_ENDED.now();
        if hurry_worker() {
            ROUND_ENDED.wait(seen, Duration::from_millis(1));
        } else if !run() {
            thread::pause();
        }
    }
}

/// The oldest entry of the queue, if its time has come.
fn next_entry() -> Option<Destructor> {
    let _slow = SlowPath::enter();
    let _inside = INSIDE.enter();
    // SAFETY: this thread has set RUNNING.
    let front = unsafe { &mut *FRONT.0.get() };
    if front.is_none() {
        *front = QUEUE.get()?.pop();
    }
    let due = front.as_ref().is_some_and(|entry| grace::has_elapsed(entry.stamp));
    if due { front.take().map(|entry| entry.destructor) } else { None }
}

/// The oldest entry in a record, if its time has come. The lock of the pending ones is left before it is called.
fn next_single() -> Option<Destructor> {
    let mut destructor = None;
    PENDING.poll(&ByNumber, 1, |number| {
        // SAFETY: off the queue, so ours; written before it was queued.
        destructor = Some(unsafe { (*ARENA.get(number).destructor.get()).assume_init_read() });
        give_back(number);
    });
    destructor
}

/// Runs one destructor.
fn call(destructor: Destructor) {
    BEGUN.fetch_add(1, Relaxed);
    let outer = DROPPING.replace(true);
    // SAFETY: whoever left the entry promised that this may be called, once, after a grace period.
    let outcome = std::panic::catch_unwind(|| unsafe { (destructor.function)(destructor.object) });
    DROPPING.set(outer);
    if outcome.is_err() {
        report(format_args!("a deferred destructor panicked"));
        std::process::abort();
    }
    RUN.fetch_add(1, Release); // Release: pairs with `pending`
}

/// Before a fork: nobody is inside the queue. Those sections are short, and wait for no lock of ours.
pub(super) fn close() {
    INSIDE.close(0, Duration::MAX);
}

/// Takes the locks of this file.
pub(super) fn lock_all() {
    ARENA.lock();
    PENDING.lock();
}

/// Leaves it all again.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(super) unsafe fn unlock_all() {
    PENDING.unlock();
    // SAFETY: handed on to the caller.
    unsafe { ARENA.unlock() };
    INSIDE.open();
}

/// In the child of a fork: the destructors that other threads were in will not return, and those that atomic callers were
/// about to leave are not there.
pub(super) fn restart() {
    INSIDE.restart(0);
    let mine = u64::from(is_dropping());
    RUNNING.store(mine != 0, Release);
    RUN.store(BEGUN.load(Relaxed) - mine, Relaxed);
    // SAFETY: no other thread is left.
    let front = u64::from(unsafe { &*FRONT.0.get() }.is_some());
    let queued = QUEUE.get().map_or(0, ArrayQueue::len) as u64;
    LEFT.store(BEGUN.load(Relaxed) + front + queued + PENDING.count(&ByNumber), Relaxed);
    ROUNDS_ENDED.store(ROUNDS_BEGUN.load(Relaxed) - mine, Relaxed);
    ROUND_ENDED.restart();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_did_not_start_is_not_waited_for() {
        let first = Cell::new(true);
        run_patiently(|| first.replace(false)); // says at first that there is one; hangs if it is believed
    }
}
