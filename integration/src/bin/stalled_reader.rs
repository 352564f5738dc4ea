//! Proves: one reader that does not leave costs memory up to a bound that can be computed, and never an early free.
//!
//! ```text
//! stall    a reader enters, and watches objects that are deferred while it is inside
//! flood    threads defer until the page budget is spent and long after: what is pending stays within
//!          budget + one object per preemptible thread and wait limit + what readers and atomic callers marked
//! apart    a reader and an atomic caller go on deferring: neither waits, what they defer is marked
//! release  a preemptible caller waits, until the reader leaves
//! return   all of it is given back
//! ```
//!
//! No object that is deferred while the reader is inside may be handed out again: all are entered in a ledger, and
//! nobody strikes them out. So the program knows what is pending without asking the allocator, which is asked as well.
//!
//! Arguments: the milliseconds of the flood (default 1000), the seed.

use std::alloc::Layout;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_epoch as epoch;
use fastrand::Rng;
use gracealloc::{Config, Context, GraceAlloc, Stats};
use integration::{Block, Ledger, Summary, View, deferral, fatal, random, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

/// Never struck out.
static LEDGER: LazyLock<Ledger> = LazyLock::new(|| Ledger::new().expect("address space"));
static IDS: AtomicU64 = AtomicU64::new(0);
/// Large objects among them.
static LARGE: AtomicU64 = AtomicU64::new(0);
static LEAVE: AtomicBool = AtomicBool::new(false);

const BUDGET: usize = 4 << 20;
const WAIT_LIMIT: Duration = Duration::from_millis(40);
/// In `apart` and `release`: whoever waits in vain is seen by the clock.
const LONG_LIMIT: Duration = Duration::from_secs(40);
/// No caller who does not wait that long is this late, however busy the machine.
const LATE: Duration = Duration::from_secs(15);
const STALL_REPORT: Duration = Duration::from_millis(250);

const WATCHED: usize = 2000;
/// Preemptible threads of the flood; besides, it has a reader and an atomic caller.
const FLOODERS: u64 = 3;
/// What each of these two defers there, and again in `apart`.
const APART: usize = 3000;
/// Sizes of the flood, each the size of a class but the last, which is a large object's.
const SIZES: [usize; 4] = [64, 1024, 16 * 1024, 40_000];
const LARGEST: u64 = 40_000;
const APART_SIZE: usize = 1024;
/// More than the open pages hold.
const RELEASED: usize = 3000;
/// A caller that makes no progress for that long waits.
const QUIET: Duration = Duration::from_millis(300);

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let flood_time = Duration::from_millis(random::argument(1).unwrap_or(1000));
    let seed = random::seed(2);
    LazyLock::force(&LEDGER);
    let before = gracealloc::stats();
    set(Config::new().budget_bytes(BUDGET).wait_limit(WAIT_LIMIT).stall_report(STALL_REPORT));
    let reader = stall();
    let (pending, bound) = flood(flood_time, seed);
    set(Config::new().wait_limit(LONG_LIMIT));
    let marks = apart();
    let released_after = release(reader);
    let stats = give_back(&before);
    Summary::new("stalled_reader")
        .with("rseq", stats.rseq.into())
        .with("seed", seed)
        .with("deferred", IDS.load(Relaxed))
        .with("pending_bytes", pending)
        .with("bound_bytes", bound)
        .with("peak_bytes", stats.deferred_peak_bytes)
        .with("marked_apart", marks)
        .with("marks", stats.deferred_marks)
        .with("inline_waits", stats.inline_waits)
        .with("released_after_us", released_after.as_micros() as u64)
        .with("stall_reports", stats.stall_reports)
        .print();
}

fn set(config: Config) {
    require!(gracealloc::configure(config).is_ok(), "the configuration is refused");
}

/// An object that nobody may get again while the reader is inside.
fn allocate(size: usize) -> Block {
    let layout = Layout::from_size_align(size, 8).expect("valid");
    let id = IDS.fetch_add(1, Relaxed) + 1;
    let block = Block::new(layout, id).unwrap_or_else(|| fatal!("null for {size} bytes"));
    LEDGER.enter(block.address(), id);
    if size as u64 == LARGEST {
        LARGE.fetch_add(1, Relaxed);
    }
    block
}

fn defer(block: Block) {
    // SAFETY: the block ends here, and nobody found it elsewhere but the reader, who is inside.
    block.free_by(|start, layout| unsafe { gracealloc::deferred_free(start, layout) });
}

/// Lets a reader enter, and defers what it watches.
fn stall() -> JoinHandle<()> {
    let (inside, entered) = mpsc::channel();
    let (show, shown) = mpsc::channel();
    let reader = thread::spawn(move || {
        let guard = epoch::pin();
        inside.send(()).expect("the main thread waits");
        let views: Vec<View> = shown.iter().collect();
        while !LEAVE.load(Acquire) {
            // SAFETY: deferred after this thread entered.
            views.iter().for_each(|view| unsafe { view.verify() });
            thread::sleep(Duration::from_millis(1));
        }
        drop(guard);
    });
    entered.recv().expect("the reader lives");
    defer_watched(show);
    reader
}

fn defer_watched(show: Sender<View>) {
    for index in 0..WATCHED {
        let block = allocate(SIZES[index % 2]);
        show.send(block.view()).expect("the reader lives");
        defer(block);
    }
}

/// Bytes that a thread of the flood has deferred.
type Bytes = u64;

/// Floods and compares; returns what is pending and its bound, in bytes.
fn flood(time: Duration, seed: u64) -> (Bytes, Bytes) {
    let start = Instant::now();
    let preemptible = |index| thread::spawn(move || flood_for(time, Rng::with_seed(seed ^ index)));
    let preemptible: Vec<_> = (0..FLOODERS).map(preemptible).collect();
    let others = vec![thread::spawn(|| flood_in(epoch::pin)), thread::spawn(|| flood_in(gracealloc::atomic_section))];
    while preemptible.iter().chain(&others).any(|thread| !thread.is_finished()) {
        compare_deferred(&gracealloc::stats());
        thread::sleep(Duration::from_millis(5));
    }
    let watched = WATCHED as u64 / 2 * (SIZES[0] + SIZES[1]) as u64;
    compare(start.elapsed(), watched + sum(preemptible), sum(others))
}

fn sum(threads: Vec<JoinHandle<Bytes>>) -> Bytes {
    threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| fatal!("a thread panicked"))).sum()
}

fn flood_for(time: Duration, mut rng: Rng) -> Bytes {
    let start = Instant::now();
    let mut bytes = 0;
    while start.elapsed() < time {
        let size = SIZES[rng.usize(..SIZES.len())];
        defer(allocate(size));
        bytes += size as u64;
    }
    bytes
}

/// Defers each object in a section of its own.
fn flood_in<S>(open: fn() -> S) -> Bytes {
    let start = Instant::now();
    for _ in 0..APART {
        let block = allocate(APART_SIZE);
        let section = open();
        defer(block);
        drop(section);
        require!(start.elapsed() < LATE, "a reader or an atomic caller waited in the flood");
    }
    (APART * APART_SIZE) as u64
}

/// At any time: the pages hold the budget, and a large object may come on top for each wait in vain.
fn compare_deferred(stats: &Stats) {
    let most = BUDGET as u64 + (stats.inline_waits + FLOODERS) * LARGEST;
    require!(stats.deferred_bytes <= most, "{} bytes wait in pages, at most {most} may", stats.deferred_bytes);
    require!(stats.deferred_peak_bytes <= most, "{} bytes waited, at most {most} may", stats.deferred_peak_bytes);
}

/// When nobody defers: the pages alone.
fn compare_pages(stats: &Stats) {
    let (pages, most) = (stats.deferred_bytes - LARGE.load(Relaxed) * LARGEST, BUDGET as u64);
    require!(pages <= most, "{pages} bytes wait in pages, at most {most} may");
}

/// The bound of the design: each preemptible thread can have marked one object per wait limit.
fn compare(elapsed: Duration, preemptible: Bytes, others: Bytes) -> (Bytes, Bytes) {
    let limits = elapsed.as_millis() / WAIT_LIMIT.as_millis() + 1;
    let waits = (FLOODERS + 1) * limits as u64;
    let stats = gracealloc::stats();
    compare_deferred(&stats);
    compare_pages(&stats);
    let (pending, bound) = (preemptible + others, BUDGET as u64 + waits * LARGEST + others);
    require!(pending <= bound, "{pending} bytes are pending, at most {bound} may");
    let marks = waits + 2 * APART as u64;
    require!(stats.deferred_marks <= marks, "{} marks, at most {marks} expected", stats.deferred_marks);
    require!(stats.deferred_bytes >= BUDGET as u64 / 2, "only {} bytes wait in pages", stats.deferred_bytes);
    compare_objects();
    (pending, bound)
}

/// All that was ever deferred is pending: the reader is inside.
fn compare_objects() {
    deferral::all_pending(IDS.load(Relaxed), LATE);
}

/// Defers as a reader and in an atomic section, with the budget spent; returns how many objects were marked.
fn apart() -> u64 {
    let before = gracealloc::stats();
    defer_in(Context::Reader, epoch::pin);
    defer_in(Context::Atomic, gracealloc::atomic_section);
    let after = gracealloc::stats();
    let waits = after.inline_waits - before.inline_waits;
    require!(waits == 0, "{waits} waits of a reader or an atomic caller");
    compare_pages(&after);
    compare_objects();
    after.deferred_marks - before.deferred_marks
}

/// Defers in the section that `open` opens. What that needs is allocated before: null is allowed in atomic sections.
fn defer_in<S>(context: Context, open: fn() -> S) {
    let blocks: Vec<_> = (0..APART).map(|_| allocate(APART_SIZE)).collect();
    let start = Instant::now();
    let section = open();
    require!(gracealloc::context() == context, "the context is not {context:?}");
    blocks.into_iter().for_each(defer);
    drop(section);
    require!(start.elapsed() < LATE, "{context:?}: waited, {:?}", start.elapsed());
}

/// A preemptible caller has to wait; lets the reader leave, and returns how long the caller took from there.
fn release(reader: JoinHandle<()>) -> Duration {
    static DEFERRED: AtomicU64 = AtomicU64::new(0);
    let blocks: Vec<_> = (0..RELEASED).map(|_| allocate(APART_SIZE)).collect();
    let caller = thread::spawn(move || {
        blocks.into_iter().for_each(|block| {
            defer(block);
            DEFERRED.fetch_add(1, AcqRel);
        });
    });
    let stuck_at = wait_until_quiet(&DEFERRED);
    require!(stuck_at < RELEASED as u64, "a preemptible caller did not wait, although the budget is spent");
    let start = Instant::now();
    LEAVE.store(true, Release);
    reader.join().unwrap_or_else(|_| fatal!("the reader panicked"));
    caller.join().unwrap_or_else(|_| fatal!("the caller panicked"));
    require!(start.elapsed() < LATE, "the caller waited on when the reader had left: {:?}", start.elapsed());
    start.elapsed()
}

/// Waits until the number has not changed for a while, and returns it.
fn wait_until_quiet(number: &AtomicU64) -> u64 {
    let (mut last, mut since) = (number.load(Acquire), Instant::now());
    while since.elapsed() < QUIET {
        thread::sleep(Duration::from_millis(10));
        let now = number.load(Acquire);
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// Waits for all deferrals and looks whether the memory is where it was.
fn give_back(before: &Stats) -> Stats {
    gracealloc::barrier();
    gracealloc::trim();
    let stats = gracealloc::stats();
    let pending = stats.deferred_objects + stats.marked_objects;
    require!(pending == 0 && stats.lost_objects == 0, "not all was given back: {stats:?}");
    let more = stats.live_bytes.saturating_sub(before.live_bytes);
    require!(more < 64 << 10, "{more} bytes more are live than at the start");
    stats
}
