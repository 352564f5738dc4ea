//! Proves: a signal handler that opens an atomic section may allocate and free, whatever it interrupted. Two timers per
//! thread deliver two signals to it, whose handlers can interrupt each other; they fill more than a magazine, free most
//! of that at once, free what an earlier handler left in an exchange and leave something of their own. The threads
//! allocate and free all the time, and also empty the exchange. Nothing may be lost, damaged or hang; null is allowed
//! in a handler, and counted.
//!
//! Arguments: the signals to take per thread (default 2000), the seed.

use std::alloc::Layout;
use std::cell::Cell;
use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use fastrand::Rng;
use gracealloc::{Context, GraceAlloc};
use integration::timer::{self, Timer};
use integration::{Block, Exchange, Fixed, Heap, Summary, random, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static HEAP: LazyLock<Heap> = LazyLock::new(|| Heap::new().expect("address space"));
static EXCHANGE: Exchange<64> = Exchange::new();
static SIGNALS: AtomicU64 = AtomicU64::new(0);
static NULLS: AtomicU64 = AtomicU64::new(0);
static LEFT: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

const THREADS: u64 = 4;
/// The signals and their periods, about 1 and 0.7 kHz.
const TIMERS: [(i32, i64); 2] = [(libc::SIGALRM, 1_000_000), (libc::SIGUSR1, 1_430_000)];
/// Per class: size, and how many a handler takes at once (4 KiB and above: more than a magazine holds).
const BURSTS: [(usize, usize); 6] = [(16, 40), (64, 8), (512, 40), (1000, 3), (4096, 40), (32_768, 10)];
const BURST: usize = 40;

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let per_thread = random::argument(1).unwrap_or(2000);
    let seed = random::seed(2);
    LazyLock::force(&HEAP);
    TIMERS.iter().for_each(|&(signal, _)| timer::install(signal, on_signal));
    let start = |index| thread::spawn(move || work(Rng::with_seed(seed ^ index), per_thread));
    let threads: Vec<_> = (0..THREADS).map(start).collect();
    let operations: u64 = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    EXCHANGE.drain().for_each(|block| HEAP.free(block));
    require!(HEAP.live() == 0, "{} objects lost", HEAP.live());
    require!(gracealloc::context() == Context::Preemptible, "not preemptible at the end");
    Summary::new("signals")
        .with("rseq", gracealloc::stats().rseq.into())
        .with("seed", seed)
        .with("signals", SIGNALS.load(Relaxed))
        .with("operations", operations)
        .with("objects", HEAP.freed())
        .with("left", LEFT.load(Relaxed))
        .with("nulls_in_handlers", NULLS.load(Relaxed))
        .with("nulls", HEAP.nulls() - NULLS.load(Relaxed))
        .print();
}

extern "C" fn on_signal(_: i32) {
    timer::keep_errno(handle);
}

fn handle() {
    let _section = gracealloc::atomic_section();
    require!(gracealloc::context() == Context::Atomic, "a handler's context is not atomic");
    TAKEN.set(TAKEN.get() + 1);
    let turn = SIGNALS.fetch_add(1, Relaxed) as usize;
    let (size, count) = BURSTS[turn % BURSTS.len()];
    let mut burst = [const { None }; BURST];
    burst[..count].iter_mut().for_each(|cell| *cell = allocate(size));
    if let Some(block) = burst[0].take() {
        leave(turn, block);
    }
    burst.into_iter().flatten().for_each(|block| HEAP.free(block));
}

fn allocate(size: usize) -> Option<Block> {
    let block = HEAP.alloc(Layout::from_size_align(size, 8).expect("valid"));
    if block.is_none() {
        NULLS.fetch_add(1, Relaxed);
    }
    block
}

/// Leaves a block in the exchange for later, and frees what was there.
fn leave(index: usize, block: Block) {
    if let Some(earlier) = EXCHANGE.take(index) {
        HEAP.free(earlier);
    }
    match EXCHANGE.put(index, block) {
        Ok(()) => _ = LEFT.fetch_add(1, Relaxed),
        Err(block) => HEAP.free(block),
    }
}

/// Allocates and frees until this thread has taken its signals; returns the number of operations.
fn work(mut rng: Rng, signals: u64) -> u64 {
    let timers = TIMERS.map(|(signal, period)| Timer::start(signal, period));
    let mut held = Fixed::new(1024).expect("address space");
    let mut operations = 0;
    while TAKEN.get() < signals {
        step(&mut rng, &mut held);
        operations += 1;
    }
    timers.into_iter().for_each(Timer::stop);
    while let Some(block) = held.pop() {
        HEAP.free(block);
    }
    operations
}

fn step(rng: &mut Rng, held: &mut Fixed<Block>) {
    let pick = rng.usize(..1024);
    if pick < held.len() {
        HEAP.free(held.swap_remove(pick));
    } else if let Some(block) = EXCHANGE.take(pick) {
        HEAP.free(block);
    } else if let Some(block) = HEAP.alloc(random::layout(rng)) {
        held.push(block);
    }
}
