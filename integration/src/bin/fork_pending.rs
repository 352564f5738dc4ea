//! Proves: a fork with deferrals pending and a worker running leaves two processes that both go on.
//!
//! - The child has its copy of what is pending. It comes back there as it does in the parent, by a worker of the child's
//!   own, and destructors run once in each.
//! - A child forks as its parent did, with deferrals pending.
//! - Forks while other threads defer: no child hangs; where a thread was inside crossbeam as it vanished, the child is told
//!   that it stalls.
//! - A reader on a thread that vanished blocks the child for ever: it is told so, nothing of what the reader saw is given
//!   back, and deferring goes on. The parent's reader leaves as ever.
//!
//! Arguments: the seed.

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_epoch as epoch;
use fastrand::Rng;
use gracealloc::{Config, GraceAlloc};
use integration::child::Child;
use integration::deferral::{defer, pending};
use integration::{Summary, View, counted, fatal, os, random, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static STOP: AtomicBool = AtomicBool::new(false);

/// Forks of each kind.
const WITH_PENDING: u64 = 10;
const UNDER_FLOOD: u64 = 120;
const VANISHED: u64 = 5;
/// How deep children fork in turn.
const DEPTH: u32 = 2;
const FLOODERS: u64 = 2;
/// More than is ever pending: nobody waits for it, in children that stall neither.
const BUDGET: usize = 512 << 20;
/// Whoever waits that long waits in vain.
const LATE: Duration = Duration::from_secs(15);
/// After that a child may say that it stalls.
const PATIENCE: Duration = Duration::from_millis(100);

/// What children say.
const THROUGH: i32 = 0;
const STALLED: i32 = 3;

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let seed = random::seed(1);
    require!(gracealloc::configure(Config::new().budget_bytes(BUDGET)).is_ok(), "the configuration is refused");
    let mut rng = Rng::with_seed(seed);
    (0..WITH_PENDING).for_each(|_| fork_with_pending(&mut rng, DEPTH));
    let stalled = fork_under_flood(&mut rng);
    (0..VANISHED).for_each(|_| fork_beside_reader(&mut rng));
    come_to_rest();
    let stats = gracealloc::stats();
    Summary::new("fork_pending")
        .with("rseq", stats.rseq.into())
        .with("seed", seed)
        .with("with_pending", WITH_PENDING)
        .with("under_flood", UNDER_FLOOD)
        .with("stalled_under_flood", stalled)
        .with("beside_reader", VANISHED)
        .with("drops", counted::drops())
        .with("lost_objects", stats.lost_objects)
        .print();
}

/// Defers between 1 and 3000 objects of several sizes, small and large.
fn defer_some(rng: &mut Rng) -> Vec<View> {
    let count = if rng.bool() { rng.usize(1..20) } else { rng.usize(1..3000) };
    (0..count).map(|id| defer_one(rng, id as u64)).collect()
}

fn defer_one(rng: &mut Rng, id: u64) -> View {
    defer(random::layout(rng), id)
}

/// At least so many objects are pending, or counted as lost in this child: pages that a thread had in hand when it vanished.
/// Pages that the worker of this process has in hand are not counted, so it may take a while.
fn expect_pending(objects: usize) {
    let start = Instant::now();
    while pending() + gracealloc::stats().lost_objects < objects as u64 {
        require!(start.elapsed() < LATE, "{} of {objects} objects are pending: {:?}", pending(), gracealloc::stats());
        thread::yield_now();
    }
}

fn come_to_rest() {
    gracealloc::barrier();
    require!(pending() == 0, "{} objects are pending after a barrier", pending());
}

/// Forks inside a reader section, which so goes on in the child: what is deferred there is pending in both.
fn fork_with_pending(rng: &mut Rng, depth: u32) {
    let mut guard = Some(epoch::pin());
    let views = defer_some(rng);
    let due = counted::drops() + counted::defer(rng.u64(1..50));
    let seed = rng.u64(..);
    let child = Child::fork(|| {
        leave(&mut guard, &views);
        live(&mut Rng::with_seed(seed), depth, due)
    });
    leave(&mut guard, &views);
    if rng.bool() {
        settle(due);
    }
    require!(child.join() == THROUGH, "a child failed");
    settle(due);
}

/// All is still pending and whole; then the reader leaves.
fn leave(guard: &mut Option<epoch::Guard>, views: &[View]) {
    expect_pending(views.len());
    // SAFETY: deferred after this thread entered.
    views.iter().for_each(|view| unsafe { view.verify() });
    *guard = None;
}

/// All deferrals have come back, and all destructors have run.
fn settle(due: u64) {
    come_to_rest();
    require!(counted::drops() == due, "{} destructors have run and not {due}", counted::drops());
}

/// A child's life.
fn live(rng: &mut Rng, depth: u32, due: u64) -> i32 {
    await_worker(rng);
    settle(due);
    if depth > 0 {
        fork_with_pending(rng, depth - 1);
    }
    defer_some(rng);
    gracealloc::synchronize();
    come_to_rest();
    THROUGH
}

/// A worker of this process brings everything back, its parent's part too, without a call of ours.
fn await_worker(rng: &mut Rng) {
    defer_some(rng);
    // Handed over for sure.
    (0..1000).for_each(|id| _ = defer_one(rng, id));
    let start = Instant::now();
    while pending() > 0 {
        require!(start.elapsed() < LATE, "{} objects are pending: the worker does not act", pending());
        thread::sleep(Duration::from_millis(1));
    }
    require!(os::threads().expect("/proc") >= 2, "a child has no worker");
}

/// Forks while other threads defer; returns how many children were told that they stall.
fn fork_under_flood(rng: &mut Rng) -> u64 {
    let flood = |_| {
        let rng = rng.fork();
        thread::spawn(|| flood(rng))
    };
    let flooders: Vec<_> = (0..FLOODERS).map(flood).collect();
    let codes = (0..UNDER_FLOOD).map(|_| {
        let seed = rng.u64(..);
        let code = Child::fork(|| live_under_flood(&mut Rng::with_seed(seed))).join();
        require!(code == THROUGH || code == STALLED, "a child ended with {code}");
        code
    });
    let stalled = codes.filter(|&code| code == STALLED).count() as u64;
    STOP.store(true, Relaxed);
    flooders.into_iter().for_each(|flooder| flooder.join().unwrap_or_else(|_| fatal!("a flooder panicked")));
    stalled
}

fn flood(mut rng: Rng) {
    while !STOP.load(Relaxed) {
        defer_one(&mut rng, 1);
    }
}

/// Defers; if grace periods pass, a barrier returns.
fn live_under_flood(rng: &mut Rng) -> i32 {
    defer_some(rng);
    if gracealloc::synchronize_timeout(PATIENCE).is_err() {
        defer_some(rng);
        return STALLED;
    }
    gracealloc::barrier();
    THROUGH
}

/// Forks beside a reader on another thread.
fn fork_beside_reader(rng: &mut Rng) {
    let (inside, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let reader = thread::spawn(move || {
        let _guard = epoch::pin();
        inside.send(()).expect("the main thread waits");
        _ = left.recv();
    });
    entered.recv().expect("the reader lives");
    let views = defer_some(rng);
    let seed = rng.u64(..);
    let child = Child::fork(|| live_beside_ghost(&mut Rng::with_seed(seed), &views));
    require!(child.join() == STALLED, "a child passed a grace period over a reader");
    drop(leave);
    reader.join().unwrap_or_else(|_| fatal!("the reader panicked"));
    require!(gracealloc::synchronize_timeout(LATE).is_ok(), "the parent stalls");
    come_to_rest();
}

/// The reader's thread is gone, its guard is not.
fn live_beside_ghost(rng: &mut Rng, views: &[View]) -> i32 {
    let start = Instant::now();
    let Err(stalled) = gracealloc::synchronize_timeout(PATIENCE) else { return THROUGH };
    require!(start.elapsed() >= PATIENCE && start.elapsed() < LATE, "stalled after {:?}", start.elapsed());
    require!(stalled.to_string().contains("crossbeam"), "{stalled}");
    let more = defer_some(rng);
    expect_pending(views.len() + more.len());
    // SAFETY: what the deferrals wait for has not ended.
    views.iter().chain(&more).for_each(|view| unsafe { view.verify() });
    STALLED
}
