//! Proves: memory is bounded by CPUs and not by threads ever created. 20,000 threads, 64 at a time, allocate several
//! sizes; each frees some objects itself and leaves some to a thread of the next wave. Nothing is lost, and the second
//! ten thousand threads need no more resident memory than the first.

use std::alloc::Layout;
use std::array;
use std::sync::LazyLock;
use std::thread;

use gracealloc::GraceAlloc;
use integration::{Block, Heap, Summary, fatal, os, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static HEAP: LazyLock<Heap> = LazyLock::new(|| Heap::new().expect("address space"));

const THREADS: usize = 20_000;
const AT_A_TIME: usize = 64;
const SIZES: [usize; 8] = [8, 24, 64, 200, 1000, 4096, 20_000, 100_000];
/// What a thread leaves to a thread of the next wave.
type Gift = [Option<Block>; SIZES.len()];

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let mut gifts: [Gift; AT_A_TIME] = array::from_fn(|_| Gift::default());
    let mut peaks = [0; 2];
    for first in (0..THREADS).step_by(AT_A_TIME) {
        run_wave(&mut gifts[..AT_A_TIME.min(THREADS - first)]);
        let half = &mut peaks[2 * first / THREADS];
        *half = os::resident_bytes().expect("/proc").max(*half);
    }
    gifts.into_iter().for_each(free_gift);
    require!(HEAP.live() == 0, "{} objects lost", HEAP.live());
    Summary::new("threads")
        .with("threads", THREADS as u64)
        .with("objects", HEAP.freed())
        .with("first_half_peak_kib", peaks[0] as u64 / 1024)
        .with("second_half_peak_kib", peaks[1] as u64 / 1024)
        .print();
}

/// One thread for each gift, which it replaces by its own.
fn run_wave(gifts: &mut [Gift]) {
    let start = |gift: &mut Gift| {
        let gift = std::mem::take(gift);
        thread::spawn(move || live(gift))
    };
    let threads: Vec<_> = gifts.iter_mut().map(start).collect();
    for (gift, thread) in gifts.iter_mut().zip(threads) {
        *gift = thread.join().unwrap_or_else(|_| fatal!("a thread panicked"));
    }
}

/// A thread's life: free what was left to it, allocate, free half of that and leave the other half.
fn live(gift: Gift) -> Gift {
    let mine = SIZES.map(allocate);
    free_gift(gift);
    let left = SIZES.map(|size| Some(allocate(size)));
    mine.into_iter().for_each(|block| HEAP.free(block));
    left
}

fn free_gift(gift: Gift) {
    gift.into_iter().flatten().for_each(|block| HEAP.free(block));
}

fn allocate(size: usize) -> Block {
    let layout = Layout::from_size_align(size, 8).expect("valid");
    HEAP.alloc(layout).unwrap_or_else(|| fatal!("null for {size} bytes"))
}
