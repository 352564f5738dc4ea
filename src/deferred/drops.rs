//! Values whose destructors wait for a grace period: a function and a pointer each.
//!
//! ```text
//!   preemptible, reader --> ArrayQueue, bounded --+--> run, in order, when their time has come: on the worker,
//!                 full --> \                      |    in `drive`, in `barrier`
//!   atomic ---------------> pool of records ------+
//! ```
//!
//! An array queue is not lock-free in the strict sense: an operation stopped half-way can make one nested in it spin. So
//! atomic callers take records, which are made beforehand; when those are used up they are told so.
//!
//! Destructors are other people's code: they run with no lock of ours but `RUNNING`, which keeps others from running
//! destructors, and outside of every slow path. One that panics ends the process.

use super::cells;
use super::in_transit::InTransit;
use super::pending::{Pending, Stamped};
use crate::arena::{Arena, Record};
use crate::grace;
use crate::platform::fatal::report;
use crate::platform::thread;
use crate::tagged_stack::{Nodes, TaggedStack};
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
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
    drop: Destructor,
    stamp: u64,
}

// SAFETY: the values are `Send`, and entries have one owner at a time.
unsafe impl Send for Entry {}

/// Entries that preemptible callers can leave before the pool has to help.
const QUEUE: usize = 4096;
/// Records that are kept for atomic callers.
const POOL: u32 = 64;

static ENTRIES: OnceBox<ArrayQueue<Entry>> = OnceBox::new();
/// The oldest entry, taken off the queue before its time; with `RUNNING`.
static FRONT: Running<Option<Entry>> = Running(UnsafeCell::new(None));
/// Somebody runs destructors.
static RUNNING: AtomicBool = AtomicBool::new(false);

struct Running<T>(UnsafeCell<T>);

// SAFETY: reached only by who has set `RUNNING`; pointers in entries came from `Send` values.
unsafe impl<T> Sync for Running<T> {}

/// An entry for atomic callers. Its fields but `link` belong to who took the record off a stack or the queue.
struct Pooled {
    link: AtomicU32,
    stamp: AtomicU64,
    drop: UnsafeCell<Option<Destructor>>,
}

// SAFETY: `None` of a function pointer and two integers is not all zero by any guarantee, so `drop` is written before it
// is read; the rest are atomics.
unsafe impl Record for Pooled {
    const FIRST: u32 = 64;
}
// SAFETY: as above: one owner at a time, of a value that is `Send`.
unsafe impl Sync for Pooled {}

static ARENA: Arena<Pooled> = Arena::new();
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

/// Entries left, and entries whose destructors have run.
static LEFT: AtomicU64 = AtomicU64::new(0);
static RUN: AtomicU64 = AtomicU64::new(0);
/// Values that nobody will drop: there was no memory for their entry.
pub(super) static LEAKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// This thread is in a destructor that we called.
    static DROPPING: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in a destructor that we called.
pub(crate) fn is_dropping() -> bool {
    DROPPING.get()
}

/// Entries that wait.
pub(super) fn pending() -> u64 {
    LEFT.load(Relaxed).saturating_sub(RUN.load(Relaxed))
}

/// Leaves an entry; false if there is no place for it. The caller may block, or is a reader.
pub(crate) fn leave(drop: Destructor) -> bool {
    let queue = ENTRIES.get_or_init(|| Box::new(ArrayQueue::new(QUEUE))); // allocates: not in a slow path of ours
    let Some(cell) = cells::here() else { return false };
    let _in_transit = InTransit::enter(cell);
    LEFT.fetch_add(1, Relaxed);
    let stamp = grace::snapshot();
    grace::demand(stamp);
    let left = queue.push(Entry { drop, stamp }).is_ok() || pool(drop, make());
    LEFT.fetch_sub(u64::from(!left), Relaxed);
    left
}

/// As [`leave`], in any context.
pub(crate) fn leave_in_pool(drop: Destructor) -> bool {
    let Some(cell) = cells::here() else { return false };
    let _in_transit = InTransit::enter(cell);
    LEFT.fetch_add(1, Relaxed);
    let left = pool(drop, UNUSED.pop(&ByNumber));
    LEFT.fetch_sub(u64::from(!left), Relaxed);
    left
}

fn pool(drop: Destructor, record: Option<u32>) -> bool {
    let Some(number) = record else { return false };
    // SAFETY: off its stack, so ours.
    unsafe { ARENA.get(number).drop.get().write(Some(drop)) };
    PENDING.stamp_and_push(&ByNumber, number);
    true
}

/// A record: an unused one, or a new one.
fn make() -> Option<u32> {
    UNUSED.pop(&ByNumber).or_else(|| ARENA.make().map(|(number, _)| number))
}

/// Makes the records for atomic callers; once. Takes a lock: not in atomic context.
pub(super) fn make_pool() {
    for _ in 0..POOL {
        if let Some((number, _)) = ARENA.make() {
            UNUSED.push(&ByNumber, number);
        }
    }
}

/// Runs the destructors whose time has come; those that come of age meanwhile, too. Returns whether it was its turn: with
/// `patience` it waits for that.
pub(crate) fn run(patience: bool) -> bool {
    if pending() == 0 {
        return true;
    }
    // Acquire and Release: one after the other has the front entry, and sees what destructors did.
    while RUNNING.swap(true, Acquire) {
        if !patience {
            return false;
        }
        thread::pause();
    }
    while let Some(drop) = next_entry() {
        call(drop);
    }
    while let Some(drop) = next_pooled() {
        call(drop);
    }
    RUNNING.store(false, Release);
    true
}

/// The oldest entry of the queue, if its time has come.
fn next_entry() -> Option<Destructor> {
    // SAFETY: this thread has set RUNNING.
    let front = unsafe { &mut *FRONT.0.get() };
    if front.is_none() {
        *front = ENTRIES.get()?.pop();
    }
    let due = front.as_ref().is_some_and(|entry| grace::has_elapsed(entry.stamp));
    if due { front.take().map(|entry| entry.drop) } else { None }
}

/// The oldest entry of the pool, if its time has come; called when the queue's lock is left again.
fn next_pooled() -> Option<Destructor> {
    let mut drop = None;
    PENDING.poll(&ByNumber, 1, |number| {
        // SAFETY: off the queue, so ours; written before it was queued.
        drop = unsafe { (*ARENA.get(number).drop.get()).take() };
        UNUSED.push(&ByNumber, number);
    });
    drop
}

/// Runs one destructor.
fn call(drop: Destructor) {
    let outer = DROPPING.replace(true);
    // SAFETY: whoever left the entry promised that this may be called, once, after a grace period.
    let outcome = std::panic::catch_unwind(|| unsafe { (drop.function)(drop.object) });
    DROPPING.set(outer);
    RUN.fetch_add(1, Relaxed);
    if outcome.is_err() {
        report(format_args!("a deferred destructor panicked"));
        std::process::abort();
    }
}

/// The pool's queue, for forks.
pub(super) fn queue() -> &'static Pending {
    &PENDING
}

/// Takes the locks of this file, for fork.
pub(super) fn lock_all() {
    ARENA.lock();
}

/// Leaves them again.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(super) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    unsafe { ARENA.unlock() };
}

/// In the child of a fork: who was running destructors is not there any more, unless it is this thread.
pub(super) fn restart() {
    if !is_dropping() && RUNNING.swap(false, Release) {
        RUN.fetch_add(1, Relaxed); // the value it was dropping
    }
}
