//! Producer and consumer: objects allocated by one thread and freed by another, where allocators that keep a heap per
//! thread must bring the memory back.
//!
//! With one thread asked for there is one pair: a thread that only allocates and a thread that only frees. With more they
//! stand in a circle, each allocating for the next and freeing for the previous:
//!
//! ```text
//! 1:  0 ──ring──> 1          2:  0 ──ring──> 1          3:  0 ──> 1 ──> 2
//!                                └──<──ring──┘              └──────<────┘
//! ```
//!
//! Objects travel in chunks, so that the ring's own cache misses are spread over 64 of them. A thread that can neither
//! send nor receive spins a little, then yields its processor.

use std::alloc::Layout;
use std::hint::{black_box, spin_loop};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::thread;

use anyhow::Result;
use crossbeam_utils::CachePadded;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::heap;
use crate::latency::Latencies;

const SMALL_OPS: u64 = 1_250_000;

/// 64 bytes.
pub const SMALL: Spec = Spec {
    name: "producer-consumer-64",
    about: "64 B allocated here, freed there (1: one pair, 2: both ways)",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare(setup, 64, SMALL_OPS),
};

/// 1 KiB.
pub const LARGE: Spec = Spec {
    name: "producer-consumer-1k",
    about: "1 KiB allocated here, freed there (1: one pair, 2: both ways)",
    by_default: true,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare(setup, 1024, 200_000),
};

/// Objects that are handed over at once.
const CHUNK: usize = 64;
/// Objects in flight at most, in whole chunks.
const CAPACITY: usize = 16 * CHUNK;
/// Fruitless rounds before a thread yields its processor.
const SPINS: u32 = 64;

fn prepare(setup: &Setup<'_>, size: usize, ops: u64) -> Result<Box<dyn Workload>> {
    let rings = (0..setup.threads).map(|_| Ring::new()).collect();
    Ok(Box::new(ProducerConsumer { layout: heap::layout(size), passes: setup.passes(ops, CHUNK as u64), rings }))
}

struct ProducerConsumer {
    layout: Layout,
    passes: Passes,
    /// Ring i is filled by worker i and emptied by the next.
    rings: Vec<Ring>,
}

impl Workload for ProducerConsumer {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.rings.len().max(2)
    }

    fn worker(&self, index: usize) -> Box<dyn Worker + '_> {
        let previous = (index + self.workers() - 1) % self.workers();
        let (out, back) = (self.rings.get(index), self.rings.get(previous));
        Box::new(Partner { layout: black_box(self.layout), out, back })
    }
}

/// A bounded queue of objects with one producer and one consumer. Positions count chunks and only grow; each is written
/// by one side alone.
struct Ring {
    objects: Box<[AtomicPtr<u64>]>,
    sent: CachePadded<AtomicUsize>,
    received: CachePadded<AtomicUsize>,
}

impl Ring {
    fn new() -> Self {
        let objects = (0..CAPACITY).map(|_| AtomicPtr::default()).collect();
        Self { objects, sent: CachePadded::default(), received: CachePadded::default() }
    }

    fn chunk(&self, position: usize) -> &[AtomicPtr<u64>] {
        &self.objects[position * CHUNK % CAPACITY..][..CHUNK]
    }

    /// Fills a chunk with what `make` returns, or is full. For the one producer.
    #[inline]
    fn send(&self, mut make: impl FnMut() -> NonNull<u64>) -> bool {
        // Relaxed: our own position.
        let sent = self.sent.load(Ordering::Relaxed);
        // Acquire: with the store in `receive`; the consumer has read the chunk that is overwritten below.
        if sent - self.received.load(Ordering::Acquire) == CAPACITY / CHUNK {
            return false;
        }
        for place in self.chunk(sent) {
            place.store(make().as_ptr(), Ordering::Relaxed);
        }
        // Release: with the load in `receive`; publishes the pointers and what was written through them.
        self.sent.store(sent + 1, Ordering::Release);
        true
    }

    /// Hands the next chunk's objects to `take`, or is empty. For the one consumer.
    #[inline]
    fn receive(&self, mut take: impl FnMut(*mut u64)) -> bool {
        // Relaxed: our own position.
        let received = self.received.load(Ordering::Relaxed);
        // Acquire: with the store in `send`.
        if self.sent.load(Ordering::Acquire) == received {
            return false;
        }
        for place in self.chunk(received) {
            take(place.load(Ordering::Relaxed));
        }
        // Release: with the load in `send`; we are done with these places.
        self.received.store(received + 1, Ordering::Release);
        true
    }
}

/// A thread that produces, consumes, or both.
struct Partner<'a> {
    layout: Layout,
    out: Option<&'a Ring>,
    back: Option<&'a Ring>,
}

impl Partner<'_> {
    fn send(&self, next: &mut u64) -> bool {
        self.out.is_some_and(|ring| {
            ring.send(|| {
                *next += 1;
                // SAFETY: the layout is one of `heap::layout`.
                unsafe { heap::obtain(self.layout, *next) }
            })
        })
    }

    fn receive(&self, sum: &mut u64) -> bool {
        self.back.is_some_and(|ring| {
            ring.receive(|object| {
                // SAFETY: the producer sends each object once, with a word in it; `obtain` never returns null.
                let object = unsafe { NonNull::new_unchecked(object) };
                // SAFETY: as above; after the free nobody has it.
                unsafe {
                    *sum = sum.wrapping_add(object.read());
                    heap::give_back(object, self.layout);
                }
            })
        })
    }
}

impl Worker for Partner<'_> {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        let chunks = ops / CHUNK as u64;
        let mut to_send = if self.out.is_some() { chunks } else { 0 };
        let mut to_receive = if self.back.is_some() { chunks } else { 0 };
        let (mut next, mut sum, mut fruitless) = (0, 0, 0);
        while to_send + to_receive > 0 {
            let sent = to_send > 0 && self.send(&mut next);
            let received = to_receive > 0 && self.receive(&mut sum);
            to_send -= u64::from(sent);
            to_receive -= u64::from(received);
            fruitless = if sent || received { 0 } else { fruitless + 1 };
            pause(fruitless);
        }
        sum
    }
}

/// Waits a little longer the longer nothing came of it.
fn pause(fruitless: u32) {
    match fruitless {
        0 => (),
        1..=SPINS => spin_loop(),
        _ => thread::yield_now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_ring_refuses_and_keeps_the_order() {
        let ring = Ring::new();
        let mut word = 0;
        let mut make = || {
            word += 1;
            // SAFETY: the layout is one of `heap::layout`.
            unsafe { heap::obtain(heap::layout(8), word) }
        };
        while ring.send(&mut make) {}
        let mut expected = 0;
        let take = |object: *mut u64| {
            expected += 1;
            let object = NonNull::new(object).unwrap();
            // SAFETY: sent once, with this layout.
            unsafe {
                assert_eq!(object.read(), expected);
                heap::give_back(object, heap::layout(8));
            }
        };
        let mut take = take;
        while ring.receive(&mut take) {}
        assert_eq!(expected, CAPACITY as u64);
    }

    #[test]
    fn every_object_arrives_once() {
        use crate::workloads::tests::{setup, tiny};
        let ops = setup(1, 1).passes(SMALL_OPS, 64).timed;
        for threads in [1, 2, 3] {
            assert_eq!(tiny(&SMALL, threads, 1), threads as u64 * ops * (ops + 1) / 2);
        }
    }
}
