//! Many threads on few CPUs: nothing is lost, nothing is handed out twice.
//!
//! The allocator is called directly, so that the books about it are in the system allocator's memory. Every object is
//! filled with a pattern of its own that is checked before it is freed; every address in use stands in a ledger; and at
//! the end, when all is freed, the allocator's own counts must be back at zero.
//!
//! Each scenario runs in a process of its own, once with restartable sequences (where there are any) and once with
//! try-locks. `SEED=<number>` repeats a run's random numbers, `OPS=<number>` sets its length.

#![cfg(not(miri))]

#[path = "../common/mod.rs"]
mod common;
mod ledger;
mod machine;

use ledger::{Ledger, Object};
use machine::{Rng, Ticker, cpus, move_to};
use std::alloc::Layout;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const CELLS: usize = 2048;

/// Where threads leave objects for each other.
struct World {
    ledger: Ledger,
    cells: Vec<Mutex<Option<Object>>>,
    parcels: Mutex<Vec<Vec<Object>>>,
    cpus: Vec<usize>,
}

impl World {
    fn new() -> Self {
        let cells = std::iter::repeat_with(Mutex::default).take(CELLS).collect();
        Self { ledger: Ledger::new(), cells, parcels: Mutex::default(), cpus: cpus() }
    }

    /// Mixed operations; most objects are freed by another thread than the one that allocated them.
    fn work(&self, mut rng: Rng, operations: usize) {
        let _ticker = Ticker::start(300_000);
        for _ in 0..operations {
            match rng.below(1000) {
                0..700 => self.toggle(&mut rng),
                700..900 => self.pair(&mut rng),
                900..940 => self.resize(&mut rng),
                940..980 => {
                    let _section = gracealloc::atomic_section();
                    self.toggle(&mut rng);
                }
                980..982 => self.send(&mut rng),
                982..984 => self.receive(),
                984..986 => move_to(self.cpus[rng.below(self.cpus.len())]),
                _ if rng.one_in(50) => drop(gracealloc::trim()),
                _ => {}
            }
        }
    }

    /// Frees what stands in a random cell, or puts a new object there.
    fn toggle(&self, rng: &mut Rng) {
        let mut cell = self.cells[rng.below(CELLS)].lock().unwrap();
        match cell.take() {
            Some(object) => self.ledger.free(object),
            None => *cell = self.ledger.alloc(layout(rng), rng.next()),
        }
    }

    fn pair(&self, rng: &mut Rng) {
        if let Some(object) = self.ledger.alloc(layout(rng), rng.next()) {
            self.ledger.free(object);
        }
    }

    fn resize(&self, rng: &mut Rng) {
        if let Some(object) = self.cells[rng.below(CELLS)].lock().unwrap().as_mut() {
            self.ledger.realloc(object, layout(rng).size());
        }
    }

    /// Leaves a few magazines' worth of objects for whoever comes by.
    fn send(&self, rng: &mut Rng) {
        let (layout, n) = (Layout::from_size_align(8 << rng.below(7), 8).unwrap(), rng.below(600));
        let parcel = (0..n).filter_map(|_| self.ledger.alloc(layout, rng.next() & !1)).collect();
        self.parcels.lock().unwrap().push(parcel);
    }

    fn receive(&self) {
        let parcel = self.parcels.lock().unwrap().pop();
        parcel.into_iter().flatten().for_each(|object| self.ledger.free(object));
    }

    /// Frees everything; afterwards nobody has anything.
    fn finish(self) {
        let parcels = self.parcels.into_inner().unwrap().into_iter().flatten();
        let cells = self.cells.into_iter().filter_map(|cell| cell.into_inner().unwrap());
        cells.chain(parcels).for_each(|object| self.ledger.free(object));
        println!("{} signals", Ticker::finish());
        assert_eq!(self.ledger.len(), 0);
        nothing_is_in_use();
    }
}

/// Mostly small sizes, now and then any class, seldom a large object or a large alignment.
fn layout(rng: &mut Rng) -> Layout {
    let (size, align) = match rng.below(100) {
        0..70 => (1 + rng.below(256), 1 << rng.below(5)),
        70..97 => (1 + rng.below(4096), 8),
        97 => (1 + rng.below(32 << 10), 64),
        98 => (1 + rng.below(1024), 4096),
        _ if rng.one_in(10) => (1 + rng.below(300_000), 8),
        _ => (1 + rng.below(40_000), 16),
    };
    Layout::from_size_align(size, align).unwrap()
}

/// After a trim every object is back in its span.
fn nothing_is_in_use() {
    gracealloc::trim();
    let stats = gracealloc::stats();
    println!("{stats}");
    assert!(stats.classes.iter().all(|class| class.live == 0 && class.cached == 0), "objects were lost: {stats}");
    assert_eq!((stats.large_objects, stats.lost_objects), (0, 0));
}

fn operations(default: usize) -> usize {
    std::env::var("OPS").map_or(default, |text| text.parse().unwrap())
}

fn mixed() {
    let (world, seed) = (World::new(), machine::seed());
    let threads = 2 * world.cpus.len();
    let each = operations(2_000_000) / threads;
    std::thread::scope(|scope| {
        for n in 0..threads as u64 {
            let world = &world;
            scope.spawn(move || world.work(Rng(seed ^ (n << 32)), each));
        }
    });
    world.finish();
}

/// A few objects of one class per thread, as fast as they go, while one thread keeps taking everybody's slots away.
fn hot() {
    let (cpus, at_work, seed) = (cpus(), AtomicUsize::new(2 * cpus().len()), machine::seed());
    let rounds = operations(40_000_000) / (2 * cpus.len()) / 16;
    std::thread::scope(|scope| {
        for n in 0..2 * cpus.len() {
            let (cpus, at_work, mut rng) = (&cpus, &at_work, Rng(seed ^ n as u64));
            scope.spawn(move || {
                for _ in 0..rounds {
                    hold_a_few(&mut rng);
                    if rng.one_in(1000) {
                        move_to(cpus[rng.below(cpus.len())]);
                    }
                }
                at_work.fetch_sub(1, Relaxed);
            });
        }
        while at_work.load(Relaxed) > 0 {
            gracealloc::trim();
        }
    });
    nothing_is_in_use();
}

/// Slow paths one after the other, under handlers that open no section: one that lands there sees atomic context.
fn nested() {
    Ticker::without_section();
    let (cpus, seed) = (cpus(), machine::seed());
    let rounds = operations(4_000_000) / (2 * cpus.len()) / BURST;
    std::thread::scope(|scope| {
        for n in 0..2 * cpus.len() {
            scope.spawn(move || {
                let (_ticker, mut rng) = (Ticker::start(100_000), Rng(seed ^ n as u64));
                (0..rounds).for_each(|_| burst(&mut rng));
            });
        }
    });
    println!("{} signals", Ticker::finish());
    nothing_is_in_use();
}

const BURST: usize = 300;

/// Calls nothing but the allocator: more objects than a magazine holds, of one of the handlers' classes.
fn burst(rng: &mut Rng) {
    use gracealloc::GraceAlloc;
    use std::alloc::GlobalAlloc;
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
    use gracealloc::GraceAlloc;
    use std::alloc::GlobalAlloc;
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

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn child() {
    match common::task().as_deref() {
        Some("mixed") => mixed(),
        Some("nested") => nested(),
        _ => hot(),
    }
}

fn survives(scenario: &str, rseq: &str) {
    let output = common::child(scenario).env("GRACEALLOC_RSEQ", rseq).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    print!("{}", text(&output.stdout));
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
}

#[test]
fn mixed_operations_lose_nothing() {
    survives("mixed", "1");
}

#[test]
fn mixed_operations_with_try_locks_lose_nothing() {
    survives("mixed", "0");
}

#[test]
fn slots_that_are_taken_away_all_the_time_lose_nothing() {
    survives("hot", "1");
}

#[test]
fn locked_slots_that_are_taken_away_all_the_time_lose_nothing() {
    survives("hot", "0");
}

#[test]
fn handlers_that_land_in_slow_paths_do_not_block() {
    survives("nested", "1");
}

#[test]
fn handlers_that_land_in_slow_paths_with_try_locks_do_not_block() {
    survives("nested", "0");
}
