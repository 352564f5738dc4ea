//! Proves: nothing is lost and nothing handed out twice, while threads move between CPUs. Twice as many threads as CPUs
//! mix `alloc`, `alloc_zeroed`, `realloc` and `dealloc` of sizes skewed to small, free each other's objects through an
//! exchange, move to a random CPU every few thousand operations and trim now and then. Each object is filled with a
//! pattern of its id and entered in a ledger outside of the allocator.
//!
//! Arguments: the number of operations (default 10 million), the seed.

use std::array;
use std::sync::LazyLock;
use std::thread;

use fastrand::Rng;
use gracealloc::GraceAlloc;
use integration::{Block, Exchange, Fixed, Heap, Summary, fatal, os, random, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static HEAP: LazyLock<Heap> = LazyLock::new(|| Heap::new().expect("address space"));
static EXCHANGE: Exchange<256> = Exchange::new();

/// How many objects a thread holds, at most.
const HELD: usize = 512;
/// Operations between two moves; every `MOVES_PER_TRIM`th move comes with a trim.
const OPERATIONS_PER_MOVE: u64 = 3000;
const MOVES_PER_TRIM: u64 = 50;

/// What a thread counts.
#[derive(Clone, Copy, Default)]
struct Counts {
    operations: u64,
    exchanged: u64,
    moves: u64,
    trims: u64,
}

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let operations = random::argument(1).unwrap_or(10_000_000);
    let seed = random::seed(2);
    let cpus: &[usize] = os::allowed_cpus().expect("affinity").leak();
    let threads = 2 * cpus.len() as u64;
    let share = operations.div_ceil(threads);
    let start = |index| thread::spawn(move || Worker::new(Rng::with_seed(seed ^ index), cpus).run(share));
    let running: Vec<_> = (0..threads).map(start).collect();
    let total = running
        .into_iter()
        .fold(Counts::default(), |sum, thread| sum.plus(thread.join().unwrap_or_else(|_| fatal!("a thread panicked"))));
    EXCHANGE.drain().for_each(|block| HEAP.free(block));
    require!(HEAP.live() == 0, "{} objects lost", HEAP.live());
    // What the allocator itself believes, when all that is cached has gone back to where it came from.
    gracealloc::trim();
    let stats = gracealloc::stats();
    Summary::new("mixed")
        .with("rseq", stats.rseq.into())
        .with("seed", seed)
        .with("threads", threads)
        .with("operations", total.operations)
        .with("objects", HEAP.freed())
        .with("exchanged", total.exchanged)
        .with("moves", total.moves)
        .with("trims", total.trims)
        .with("nulls", HEAP.nulls())
        .with("live_bytes", stats.live_bytes)
        .with("lost_objects", stats.lost_objects)
        .print();
}

impl Counts {
    fn plus(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            exchanged: self.exchanged + other.exchanged,
            moves: self.moves + other.moves,
            trims: self.trims + other.trims,
        }
    }
}

/// A thread with the objects it holds.
struct Worker {
    rng: Rng,
    cpus: &'static [usize],
    held: Fixed<Block>,
    counts: Counts,
}

impl Worker {
    fn new(rng: Rng, cpus: &'static [usize]) -> Self {
        Self { rng, cpus, held: Fixed::new(HELD).expect("address space"), counts: Counts::default() }
    }

    fn run(mut self, operations: u64) -> Counts {
        let mut next_move = 0;
        while self.counts.operations < operations {
            if self.counts.operations >= next_move {
                self.move_away();
                next_move += OPERATIONS_PER_MOVE;
            }
            self.step();
        }
        while let Some(block) = self.held.pop() {
            HEAP.free(block);
        }
        self.counts
    }

    fn move_away(&mut self) {
        let cpu = self.cpus[self.rng.usize(..self.cpus.len())];
        os::move_to(cpu).expect("an allowed CPU");
        self.counts.moves += 1;
        if self.counts.moves.is_multiple_of(MOVES_PER_TRIM) {
            gracealloc::trim();
            self.counts.trims += 1;
        }
    }

    /// One operation on one object; allocating gets likelier the fewer there are.
    fn step(&mut self) {
        let pick = self.rng.usize(..HELD);
        if pick >= self.held.len() {
            return self.allocate();
        }
        match self.rng.u32(..10) {
            0..6 => self.free(pick),
            6..8 => self.resize(pick),
            _ => self.exchange(pick),
        }
    }

    fn allocate(&mut self) {
        let layout = random::layout(&mut self.rng);
        let block = if self.rng.u32(..4) == 0 { HEAP.alloc_zeroed(layout) } else { HEAP.alloc(layout) };
        self.counts.operations += 1;
        if let Some(block) = block {
            self.held.push(block);
        }
    }

    fn free(&mut self, pick: usize) {
        HEAP.free(self.held.swap_remove(pick));
        self.counts.operations += 1;
    }

    fn resize(&mut self, pick: usize) {
        let size = random::size(&mut self.rng);
        let block = self.held.swap_remove(pick);
        self.held.push(HEAP.resize(block, size));
        self.counts.operations += 1;
    }

    /// Leaves an object to whoever comes, or frees what somebody left. Both count when the object is freed.
    fn exchange(&mut self, pick: usize) {
        let [mine, other] = array::from_fn(|_| self.rng.usize(..));
        if let Err(block) = EXCHANGE.put(mine, self.held.swap_remove(pick)) {
            self.held.push(block);
        }
        if let Some(block) = EXCHANGE.take(other) {
            HEAP.free(block);
            self.counts.operations += 1;
            self.counts.exchanged += 1;
        }
    }
}
