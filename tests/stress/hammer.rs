//! The same few operations over and over, under the worst of circumstances.

use crate::machine::{Rng, Ticker, cpus, move_to, seed};
use gracealloc::GraceAlloc;
use std::alloc::{GlobalAlloc, Layout};

/// A few objects of one class per thread, as fast as they go, while one thread keeps taking everybody's slots away.
pub(crate) fn hot() {
    let (cpus, seed) = (cpus(), seed());
    let rounds = super::operations(40_000_000) / (2 * cpus.len()) / 16;
    std::thread::scope(|scope| {
        let start = |n| {
            let (cpus, mut rng) = (&cpus, Rng(seed ^ n as u64));
            scope.spawn(move || {
                for _ in 0..rounds {
                    hold_a_few(&mut rng);
                    if rng.one_in(1000) {
                        move_to(cpus[rng.below(cpus.len())]);
                    }
                }
            })
        };
        let threads: Vec<_> = (0..2 * cpus.len()).map(start).collect();
        while !threads.iter().all(|thread| thread.is_finished()) {
            gracealloc::trim();
        }
    });
    super::nothing_is_in_use();
}

/// Slow paths one after the other, under handlers that open no section: one that lands there sees atomic context.
pub(crate) fn nested() {
    Ticker::without_section();
    let (cpus, seed) = (cpus(), seed());
    let rounds = super::operations(4_000_000) / (2 * cpus.len()) / BURST + 1;
    std::thread::scope(|scope| {
        for n in 0..2 * cpus.len() {
            scope.spawn(move || {
                let (_ticker, mut rng) = (Ticker::start(100_000), Rng(seed ^ n as u64));
                (0..rounds).for_each(|_| burst(&mut rng));
            });
        }
    });
    println!("{} signals", Ticker::finish());
    super::nothing_is_in_use();
}

const BURST: usize = if cfg!(miri) { 20 } else { 300 };

/// Calls nothing but the allocator: more objects than a magazine holds, of one of the handlers' classes.
fn burst(rng: &mut Rng) {
    let layout = Layout::from_size_align([16, 64, 1200, 40_000][rng.below(4)], 8).unwrap();
    // SAFETY: the layout has a size; what was allocated is freed once.
    unsafe {
        let objects: [*mut u8; BURST] = std::array::from_fn(|_| GraceAlloc.alloc(layout));
        objects.iter().filter(|object| !object.is_null()).for_each(|&object| GraceAlloc.dealloc(object, layout));
    }
    if rng.one_in(10) {
        gracealloc::trim();
    }
}

/// Allocates some objects, marks each as this thread's own, and finds the marks in place.
fn hold_a_few(rng: &mut Rng) {
    const LAYOUT: Layout = Layout::new::<[u64; 8]>();
    let (n, mark) = (1 + rng.below(16), rng.next());
    // SAFETY: the layout has a size; each object is ours from alloc to dealloc and aligned for its words.
    unsafe {
        let objects: [*mut u8; 16] =
            std::array::from_fn(|at| if at < n { GraceAlloc.alloc(LAYOUT) } else { std::ptr::null_mut() });
        let words = objects[..n].iter().map(|object| object.cast::<u64>());
        words.clone().zip(mark..).for_each(|(word, mark)| word.write_volatile(mark));
        words.zip(mark..).for_each(|(word, mark)| assert_eq!(word.read_volatile(), mark, "{word:p} has two owners"));
        objects[..n].iter().for_each(|&object| GraceAlloc.dealloc(object, LAYOUT));
    }
}
