//! Proves: the first allocation of a thread may come from anywhere. On threads on which nothing has run yet,
//! `crossbeam_epoch::pin()` comes first, then a deferred closure that frees; on others the first allocation of all
//! meets the address-space limit: null, neither crash nor hang, and when the limit is lifted the thread goes on.

use std::alloc::Layout;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Barrier, LazyLock};
use std::thread;

use crossbeam_epoch as epoch;
use gracealloc::GraceAlloc;
use integration::raw_thread::RawThread;
use integration::{Block, Fixed, Heap, Summary, fatal, os, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

static HEAP: LazyLock<Heap> = LazyLock::new(|| Heap::new().expect("address space"));
/// Closures that have run.
static RAN: AtomicU64 = AtomicU64::new(0);

const PINNING_THREADS: usize = 512;
const AT_A_TIME: usize = 16;
const CLOSURES: usize = 200;

const STARVED_THREADS: usize = 8;
/// What a starved thread asks for first, far beyond the headroom.
const TOO_MUCH: usize = 64 << 20;
const HEADROOM: usize = 4 << 20;
const SMALL: usize = 1000;
/// No starved thread gets as many small objects.
const HELD: usize = 1 << 20;

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    pin_first();
    let (nulls, small_objects) = starve();
    // And after that the epochs still turn.
    pin_first();
    require!(HEAP.live() == 0, "{} objects lost", HEAP.live());
    Summary::new("epoch_first")
        .with("pinning_threads", 2 * PINNING_THREADS as u64)
        .with("closures", RAN.load(Relaxed))
        .with("starved_threads", STARVED_THREADS as u64)
        .with("nulls", nulls)
        .with("small_objects", small_objects)
        .print();
}

fn pin_first() {
    let before = RAN.load(Relaxed);
    for _ in (0..PINNING_THREADS).step_by(AT_A_TIME) {
        let threads = [(); AT_A_TIME].map(|()| RawThread::start(pin_and_defer, &()));
        threads.into_iter().for_each(RawThread::join);
    }
    let due = before + (PINNING_THREADS * CLOSURES) as u64;
    // Acquire: what the closures did is done (their AcqRel).
    for _ in 0..1_000_000 {
        if RAN.load(Acquire) == due {
            return;
        }
        epoch::pin().flush();
        thread::yield_now();
    }
    fatal!("{} of {due} closures have run", RAN.load(Relaxed));
}

extern "C" fn pin_and_defer(_: *mut c_void) -> *mut c_void {
    let guard = epoch::pin();
    for size in 1..=CLOSURES {
        let block = allocate(Layout::from_size_align(size * 20, 8).expect("valid"));
        guard.defer(move || {
            HEAP.free(block);
            RAN.fetch_add(1, AcqRel);
        });
    }
    guard.flush();
    ptr::null_mut()
}

/// What a starved thread brings and takes home.
struct Starved {
    /// Everybody is there; the limit is set; everybody has tried; the limit is lifted.
    gate: &'static Barrier,
    nulls: AtomicU64,
    small_objects: AtomicU64,
}

fn starve() -> (u64, u64) {
    let gate: &'static Barrier = Box::leak(Box::new(Barrier::new(STARVED_THREADS + 1)));
    let new = |_| Starved { gate, nulls: AtomicU64::new(0), small_objects: AtomicU64::new(0) };
    let starved: &'static [Starved] = (0..STARVED_THREADS).map(new).collect::<Vec<_>>().leak();
    let threads: Vec<_> = starved.iter().map(|starved| RawThread::start(live_starved, starved)).collect();
    gate.wait();
    let limit = os::AddressSpaceLimit::set(HEADROOM).expect("a limit");
    gate.wait();
    gate.wait();
    drop(limit);
    gate.wait();
    threads.into_iter().for_each(RawThread::join);
    let sum = |figure: fn(&Starved) -> &AtomicU64| starved.iter().map(|starved| figure(starved).load(Relaxed)).sum();
    (sum(|starved| &starved.nulls), sum(|starved| &starved.small_objects))
}

extern "C" fn live_starved(starved: *mut c_void) -> *mut c_void {
    // SAFETY: `starve` passes a leaked `Starved`.
    let starved = unsafe { &*starved.cast::<Starved>() };
    // Mapped, not allocated.
    let mut held = Fixed::new(HELD).expect("address space");
    starved.gate.wait();
    starved.gate.wait();
    let small = Layout::from_size_align(SMALL, 8).expect("valid");
    require!(Block::new(Layout::from_size_align(TOO_MUCH, 8).expect("valid"), 1).is_none(), "beyond the limit");
    while let Some(block) = Block::new(small, held.len() as u64) {
        held.push(block);
    }
    starved.nulls.fetch_add(2, Relaxed);
    starved.small_objects.store(held.len() as u64, Relaxed);
    // A free under the limit must work too.
    while let Some(block) = held.pop() {
        block.free();
    }
    starved.gate.wait();
    starved.gate.wait();
    HEAP.free(allocate(small));
    HEAP.free(allocate(Layout::from_size_align(TOO_MUCH, 8).expect("valid")));
    ptr::null_mut()
}

fn allocate(layout: Layout) -> Block {
    HEAP.alloc(layout).unwrap_or_else(|| fatal!("null for {layout:?}"))
}
