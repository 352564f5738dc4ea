//! Proves: an owned guard protects what a task has loaded across `.await`, whichever threads the task runs on. Tasks on a
//! multi-threaded tokio runtime hold values while writers replace them; destructors spoil a value's check word first.
//!
//! Argument: the seed.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, ThreadId};

use fastrand::Rng;
use gracealloc::{GraceAlloc, Rcu, read_owned};
use integration::{Summary, random, require};
use tokio::task::{JoinSet, yield_now};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const TASKS: u64 = 64;
const READS: u64 = 300;
const CELLS: usize = 8;

/// A number, with a check word that its destructor spoils.
struct Value {
    number: u64,
    check: AtomicU64,
    _more: Vec<u64>,
}

static MADE: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Value {
    fn new() -> Self {
        let number = MADE.fetch_add(1, Relaxed);
        Self { number, check: AtomicU64::new(!number), _more: vec![number; 4] }
    }

    fn is_whole(&self) -> bool {
        self.check.load(Relaxed) == !self.number
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        require!(self.is_whole(), "a value was dropped twice");
        self.check.store(self.number, Relaxed);
        DROPPED.fetch_add(1, Relaxed);
    }
}

static VALUES: LazyLock<[Rcu<Value>; CELLS]> = LazyLock::new(|| [(); CELLS].map(|()| Rcu::new(Value::new())));

fn main() -> std::io::Result<()> {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let seed = random::seed(1);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build()?;
    let over = AtomicBool::new(false);
    let (migrated, replaced) = thread::scope(|scope| {
        let writers = [1, 2].map(|n| {
            scope.spawn({
                let over = &over;
                move || write(seed + n, over)
            })
        });
        let migrated = runtime.block_on(read_all(seed));
        over.store(true, Relaxed);
        (migrated, writers.into_iter().map(|writer| writer.join().unwrap()).sum::<u64>())
    });
    drop(runtime);
    gracealloc::synchronize();
    gracealloc::barrier();
    let stats = gracealloc::stats();
    require!(stats.leaked_drops == 0, "a value was leaked");
    Summary::new("async_readers")
        .with("seed", seed)
        .with("rseq", stats.rseq.into())
        .with("reads", TASKS * READS)
        .with("migrated", migrated)
        .with("replaced", replaced)
        .with("alive", MADE.load(Relaxed) - DROPPED.load(Relaxed))
        .with("pending", stats.deferred_objects + stats.drops_pending + stats.marked_objects)
        .print();
    Ok(())
}

/// Replaces values until told to stop; how many.
fn write(seed: u64, over: &AtomicBool) -> u64 {
    let mut random = Rng::with_seed(seed);
    let mut replaced = 0;
    while !over.load(Relaxed) {
        VALUES[random.usize(..CELLS)].replace(Value::new());
        replaced += 1;
    }
    replaced
}

/// Runs all tasks; how many guards were dropped on another thread than they were opened on.
async fn read_all(seed: u64) -> u64 {
    let mut tasks: JoinSet<u64> = (0..TASKS).map(|n| read(seed ^ (n << 32))).collect();
    let mut migrated = 0;
    while let Some(task) = tasks.join_next().await {
        migrated += task.unwrap();
    }
    migrated
}

async fn read(seed: u64) -> u64 {
    let mut random = Rng::with_seed(seed);
    let mut migrated = 0;
    for _ in 0..READS {
        let opened = hold(&mut random).await;
        migrated += u64::from(opened != thread::current().id());
    }
    migrated
}

/// Holds two values of different age across some awaits; on which thread the guard was opened. It is dropped on this one.
async fn hold(random: &mut Rng) -> ThreadId {
    let (guard, opened) = (read_owned(), thread::current().id());
    let first = VALUES[random.usize(..CELLS)].load(&guard);
    for _ in 0..random.u32(1..20) {
        let second = VALUES[random.usize(..CELLS)].load(&guard);
        yield_now().await;
        require!(first.is_whole() && second.is_whole(), "a value was given back under its reader");
    }
    drop(guard);
    opened
}
