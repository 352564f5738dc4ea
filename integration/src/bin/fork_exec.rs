//! Proves: a process that forks while other threads allocate gets children that can allocate. `pre_exec` makes
//! `Command` fork; between fork and exec the child allocates and frees (its own and the parent's objects), then it
//! executes this program anew, which allocates, too. No child hangs, for want of a lock that vanished with its thread.

use std::env;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use fastrand::Rng;
use gracealloc::GraceAlloc;
use integration::{Exchange, Heap, Summary, fatal, random, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static HEAP: LazyLock<Heap> = LazyLock::new(|| Heap::new().expect("address space"));
static EXCHANGE: Exchange<64> = Exchange::new();
static STOP: AtomicBool = AtomicBool::new(false);

const CHILDREN: u64 = 200;
const THREADS: u64 = 3;
/// What each child allocates before exec, and again after it.
const OBJECTS: usize = 300;
/// The argument of an executed child.
const CHILD: &str = "child";

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    if env::args().nth(1).is_some_and(|argument| argument == CHILD) {
        return allocate_a_lot(1);
    }
    let seed = random::seed(1);
    LazyLock::force(&HEAP);
    let threads: Vec<_> = (0..THREADS).map(|index| thread::spawn(move || work(Rng::with_seed(seed ^ index)))).collect();
    (0..CHILDREN).for_each(run_child);
    STOP.store(true, Relaxed);
    let operations = threads.into_iter().map(|thread| thread.join().expect("no panic")).sum();
    EXCHANGE.drain().for_each(|block| HEAP.free(block));
    require!(HEAP.live() == 0, "{} objects lost", HEAP.live());
    Summary::new("fork_exec")
        .with("seed", seed)
        .with("children", CHILDREN)
        .with("operations", operations)
        .with("objects", HEAP.freed())
        .print();
}

fn run_child(seed: u64) {
    let mut command = Command::new(env::current_exe().expect("/proc"));
    command.arg(CHILD);
    // SAFETY: the child of this program may allocate: that is what is proved. It takes no lock of the parent's.
    unsafe { command.pre_exec(move || before_exec(seed)) };
    let status = command.status().expect("the child starts");
    require!(status.success(), "child {seed}: {status}");
}

/// In the child, alone of all threads.
fn before_exec(seed: u64) -> io::Result<()> {
    allocate_a_lot(seed);
    // The parent's objects are the child's, too: its copies, that is.
    EXCHANGE.drain().for_each(|block| HEAP.free(block));
    Ok(())
}

fn allocate_a_lot(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let allocate = |_| HEAP.alloc(random::layout(&mut rng)).unwrap_or_else(|| fatal!("null in a child"));
    let blocks: Vec<_> = (0..OBJECTS).map(allocate).collect();
    blocks.into_iter().for_each(|block| HEAP.free(block));
}

/// Allocates and frees, its own objects and those of others, until told to stop; returns the number of operations.
fn work(mut rng: Rng) -> u64 {
    let mut operations = 0;
    while !STOP.load(Relaxed) {
        let Some(block) = HEAP.alloc(random::layout(&mut rng)) else { fatal!("null in the parent") };
        let left = EXCHANGE.put(operations as usize, block).err();
        let found = EXCHANGE.take(rng.usize(..));
        left.into_iter().chain(found).for_each(|block| HEAP.free(block));
        operations += 1;
    }
    operations
}
