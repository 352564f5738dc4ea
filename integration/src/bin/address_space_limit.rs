//! Proves: at the address-space limit the allocator returns null, loses nothing, and the process goes on. For sizes
//! from 64 bytes to 8 MiB and alignments to 4 MiB: allocate until null; every object still has its pattern and none
//! overlaps another; free every second one, and most of that fits again; free all, and another size gets the memory. All
//! that under one limit, while another thread allocates and frees. Then impossible sizes, failing `realloc`s and
//! `try_reserve`, and ordinary work after the limit is lifted.

use std::alloc::{self, Layout};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

use gracealloc::GraceAlloc;
use integration::{Block, Fixed, Heap, Summary, fatal, os, random, require};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const HEADROOM: usize = 64 * MIB;
/// No size gets as many objects.
const HELD: usize = 2 * HEADROOM / LAYOUTS[0].0;
/// Size and alignment; small ones again at the end, from what the large ones gave back.
const LAYOUTS: [(usize, usize); 11] = [
    (64, 8),
    (100, 4),
    (1024, 16),
    (4096, 4096),
    (32 * KIB, 8),
    (40_000, 8),
    (MIB, 8),
    (MIB, 4 * MIB),
    (8 * MIB, 4 * MIB),
    (200, 8),
    (32 * KIB, 8),
];

/// So many nulls in a row mean that there is no memory: at fewer the bystander may just have had the rest in its hands.
const PATIENCE: usize = 50;

static STARTED: Barrier = Barrier::new(2);
static STOP: AtomicBool = AtomicBool::new(false);

fn main() {
    require!(gracealloc::is_global(), "gracealloc is not the global allocator");
    let heap = Heap::new().expect("address space");
    let mut held = Fixed::new(HELD).expect("address space");
    let bystander = thread::spawn(bystand);
    // What starting a thread maps (64 MiB for glibc's own malloc) is no part of the headroom.
    STARTED.wait();
    let limit = os::AddressSpaceLimit::set(HEADROOM).expect("a limit");
    let mut nulls = 0;
    let mut objects = 0;
    for layout in LAYOUTS.map(|(size, align)| Layout::from_size_align(size, align).expect("valid")) {
        objects += fill_twice(layout, &mut held);
        nulls += 1 + refuse_the_impossible() + fail_to_grow();
    }
    STOP.store(true, Relaxed);
    let bystander_operations = bystander.join().unwrap_or_else(|_| fatal!("the bystander panicked"));
    drop(limit);
    let after = work_normally(&heap);
    Summary::new("address_space_limit")
        .with("layouts", LAYOUTS.len() as u64)
        .with("objects", objects)
        .with("nulls", nulls)
        .with("bystander_operations", bystander_operations)
        .with("objects_after", after)
        .print();
}

/// Allocates until null, frees every second object, allocates most of that again, frees all.
fn fill_twice(layout: Layout, held: &mut Fixed<Block>) -> u64 {
    fill(layout, held, HELD);
    let all = held.len();
    // What jemalloc once mapped it keeps, in pieces: that one of them can hold an aligned block is not promised.
    let aligned = layout.align() > 4096;
    let expected = if aligned { 0 } else { (HEADROOM / 64 / layout.size()).max(1) };
    require!(all >= expected, "{layout:?}: null after {all} objects, but {expected} at least should fit");
    check(held);
    // Backwards, so that what moves to a freed one's place has been passed already.
    (0..all).rev().step_by(2).for_each(|index| held.swap_remove(index).free());
    let kept = held.len();
    // The bystander and its caches have some of it; an aligned hole need not serve an aligned request again (glibc's
    // allocator wants room to align anew).
    let expected = if aligned { (all - kept).min(1) } else { (all - kept) * 3 / 4 };
    fill(layout, held, kept + expected);
    require!(held.len() == kept + expected, "{layout:?}: of {} freed only {} again", all - kept, held.len() - kept);
    check(held);
    while let Some(block) = held.pop() {
        block.free();
    }
    (all + expected) as u64
}

fn fill(layout: Layout, held: &mut Fixed<Block>, most: usize) {
    let mut nulls_in_a_row = 0;
    while held.len() < most && nulls_in_a_row < PATIENCE {
        match Block::new(layout, held.len() as u64) {
            Some(block) => {
                held.push(block);
                nulls_in_a_row = 0;
            }
            None => {
                nulls_in_a_row += 1;
                thread::yield_now();
            }
        }
    }
}

/// Every object has its pattern, and ends before the next begins.
fn check(held: &mut Fixed<Block>) {
    held.iter().for_each(Block::verify);
    held.sort_unstable_by_key(Block::address);
    let overlap = held.windows(2).find(|pair| pair[0].end() > pair[1].address());
    require!(overlap.is_none(), "objects overlap: {overlap:?}");
}

/// Sizes that no address space holds; returns the number of nulls.
fn refuse_the_impossible() -> u64 {
    let most = isize::MAX as usize;
    let layouts = [(most, 1), (most - 7, 8), (most - 4095, 4096), (most / 2, 1 << 30), (1 << 46, 4 * MIB)];
    let layouts = layouts.map(|(size, align)| Layout::from_size_align(size, align).expect("valid"));
    for layout in layouts {
        // SAFETY: the size is not 0.
        let (plain, zeroed) = unsafe { (alloc::alloc(layout), alloc::alloc_zeroed(layout)) };
        // The compiler may leave out an allocation that it sees nobody use, as if it had succeeded.
        let (plain, zeroed) = (black_box(plain), black_box(zeroed));
        require!(plain.is_null() && zeroed.is_null(), "{layout:?} is not refused");
    }
    require!(Vec::<u64>::new().try_reserve(1 << 40).is_err(), "try_reserve of 8 TiB");
    2 * layouts.len() as u64 + 1
}

/// A `realloc` that fails leaves the block as it was (which `resized` checks); returns the number of nulls.
fn fail_to_grow() -> u64 {
    let sizes = [24, 1000, 32 * KIB, MIB];
    for size in sizes {
        let layout = Layout::from_size_align(size, 8).expect("valid");
        let mut block = Block::new(layout, size as u64).unwrap_or_else(|| fatal!("null for {layout:?}"));
        for impossible in [isize::MAX as usize - 7, 1 << 46, 2 * HEADROOM] {
            block = match block.resized(impossible) {
                Err(block) => block,
                Ok(block) => fatal!("realloc to {impossible}: {:#x}", block.address()),
            };
        }
        block.free();
    }
    3 * sizes.len() as u64
}

/// Allocates and frees at the limit, where null is no surprise; returns the number of successful operations.
fn bystand() -> u64 {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut operations = 0;
    STARTED.wait();
    while !STOP.load(Relaxed) {
        if let Some(block) = Block::new(random::layout(&mut rng), operations) {
            block.free();
            operations += 2;
        }
    }
    operations
}

/// What any program does, after all that; returns the number of objects.
fn work_normally(heap: &Heap) -> u64 {
    let mut rng = fastrand::Rng::with_seed(2);
    let allocate = |_| heap.alloc(random::layout(&mut rng)).unwrap_or_else(|| fatal!("null without a limit"));
    let blocks: Vec<_> = (0..10_000).map(allocate).collect();
    blocks.into_iter().for_each(|block| heap.free(block));
    require!(heap.live() == 0, "{} objects lost", heap.live());
    heap.freed()
}
