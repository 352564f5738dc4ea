//! What C programs do: [`CCalls`] and no layouts.
//!
//! - a pair with `free`, which has to find out what the object is, and the same with `free_sized`, which is told: side by side
//!   they show what finding out costs;
//! - a buffer that grows to some mebibytes and is freed, as programs that read input have it.

use std::ffi::c_void;

use anyhow::{Context, Result};

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::c_calls::CCalls;
use crate::latency::Latencies;

/// `malloc` and `free`.
pub const UNSIZED: Spec = spec("unsized-64", "malloc 64 B and free it, by the calls that C has", |setup| {
    prepare(setup, PAIRS, unsized_pairs)
});

/// `malloc` and `free_sized`.
pub const SIZED: Spec =
    spec("sized-64", "the same, but the free is told the size", |setup| prepare(setup, PAIRS, sized_pairs));

/// `realloc`.
pub const GROW: Spec =
    spec("c-grow", "grow a buffer by half with realloc, from 64 B to 16 MiB", |setup| prepare(setup, BUFFERS, grow));

const SIZE: usize = 64;
const LARGEST: usize = 16 << 20;
const PAIRS: u64 = 3_000_000;
const BUFFERS: u64 = 4;

type Run = fn(&CCalls, u64) -> u64;

const fn spec(name: &'static str, about: &'static str, prepare: fn(&Setup<'_>) -> Result<Box<dyn Workload>>) -> Spec {
    let (measures, retires) = (Measures::Time, Retires::Nothing);
    Spec { name, about, by_default: false, measures, needs_corpus: false, needs_c: true, retires, prepare }
}

fn prepare(setup: &Setup<'_>, ops: u64, run: Run) -> Result<Box<dyn Workload>> {
    let calls = setup.c.context("this child does not know how C calls its allocator")?;
    Ok(Box::new(Calls { threads: setup.threads, passes: setup.passes(ops, 1), calls, run, seed: setup.seed }))
}

struct Calls {
    threads: usize,
    passes: Passes,
    calls: CCalls,
    run: Run,
    seed: u64,
}

impl Workload for Calls {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.threads
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(CallsWorker(self))
    }
}

struct CallsWorker<'a>(&'a Calls);

impl Worker for CallsWorker<'_> {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        (self.0.run)(&self.0.calls, ops).wrapping_add(self.0.seed)
    }
}

/// Writes a word into a block, which must be there.
fn touch(block: *mut c_void, word: u64) {
    assert!(!block.is_null(), "no memory");
    // SAFETY: a block of malloc is aligned for a word, and those here are large enough for one.
    unsafe { block.cast::<u64>().write_volatile(word) };
}

fn unsized_pairs(calls: &CCalls, ops: u64) -> u64 {
    for word in 0..ops {
        // SAFETY: freed once.
        unsafe {
            let block = (calls.malloc)(SIZE);
            touch(block, word);
            (calls.free)(block);
        }
    }
    ops
}

fn sized_pairs(calls: &CCalls, ops: u64) -> u64 {
    for word in 0..ops {
        // SAFETY: freed once, with the size it was asked for with.
        unsafe {
            let block = (calls.malloc)(SIZE);
            touch(block, word);
            (calls.free_sized)(block, SIZE);
        }
    }
    ops
}

/// Fills what a buffer has grown by, as a reader would.
fn grow(calls: &CCalls, ops: u64) -> u64 {
    let mut sum = 0u64;
    for _ in 0..ops {
        let (mut size, mut block) = (0, std::ptr::null_mut::<c_void>());
        while size < LARGEST {
            let larger = (size + size / 2).max(SIZE);
            // SAFETY: `realloc` of null is `malloc`; what is written is inside the block, behind what was there.
            unsafe {
                block = (calls.realloc)(block, larger);
                touch(block, larger as u64);
                block.cast::<u8>().add(size).write_bytes(1, larger - size);
            }
            size = larger;
        }
        sum = sum.wrapping_add(size as u64);
        // SAFETY: freed once.
        unsafe { (calls.free)(block) };
    }
    sum
}
