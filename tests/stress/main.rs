//! Many threads on few CPUs: nothing is lost, nothing is handed out twice.
//!
//! The allocator is called directly, so that the books about it are in the system allocator's memory. Every object is
//! filled with a pattern of its own that is checked before it is freed; every address in use stands in a ledger; and at
//! the end, when all is freed, the allocator's own counts must be back at zero.
//!
//! Each scenario runs in a process of its own, once with restartable sequences (where there are any) and once with
//! try-locks (under Miri: in this process, with try-locks, and briefly). `SEED=<number>` repeats a run's random numbers, `OPS=<number>` sets its length.

#[path = "../common/mod.rs"]
mod common;
mod hammer;
mod ledger;
mod machine;

use ledger::{Ledger, Object};
use machine::{Rng, Ticker, cpus, move_to};
use std::alloc::Layout;
use std::sync::Mutex;

const CELLS: usize = if cfg!(miri) { 32 } else { 2048 };
/// The most objects left for others at once: a few magazines' worth.
const PARCEL: usize = if cfg!(miri) { 12 } else { 600 };

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
        let (layout, n) = (Layout::from_size_align(8 << rng.below(7), 8).unwrap(), rng.below(PARCEL));
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

/// Mostly small sizes, now and then any class, seldom a large object or a large alignment. Smaller under Miri.
fn layout(rng: &mut Rng) -> Layout {
    let (size, align) = match rng.below(100) {
        0..70 => (256, 1 << rng.below(5)),
        70..97 => (4096, 8),
        97 => (32 << 10, 64),
        98 => (1024, 4096),
        _ if rng.one_in(10) => (300_000, 8),
        _ => (40_000, 16),
    };
    let most = if cfg!(miri) { size / 16 } else { size };
    Layout::from_size_align(1 + rng.below(most), align).unwrap()
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
    if cfg!(miri) {
        return 100;
    }
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

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn child() {
    run(&common::task().expect("a scenario"));
}

fn run(scenario: &str) {
    match scenario {
        "mixed" => mixed(),
        "hot" => hammer::hot(),
        "nested" => hammer::nested(),
        other => panic!("no scenario {other}"),
    }
}

/// Try-locks, and one cell for all threads.
const CROWDED: [(&str, &str); 2] = [("GRACEALLOC_RSEQ", "0"), ("GRACEALLOC_SHARDS", "1")];

fn survives(scenario: &str, variables: &[(&str, &str)]) {
    if cfg!(miri) {
        if !variables.is_empty() {
            run(scenario);
        }
        return;
    }
    let output = common::child(scenario).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    print!("{}", text(&output.stdout));
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
}

#[test]
fn mixed_operations_lose_nothing() {
    survives("mixed", &[]);
}

#[test]
fn mixed_operations_with_try_locks_lose_nothing() {
    survives("mixed", &[("GRACEALLOC_RSEQ", "0")]);
}

#[test]
fn slots_that_are_taken_away_all_the_time_lose_nothing() {
    survives("hot", &[]);
}

#[test]
fn locked_slots_that_are_taken_away_all_the_time_lose_nothing() {
    survives("hot", &CROWDED);
}

#[test]
fn handlers_that_land_in_slow_paths_do_not_block() {
    survives("nested", &[]);
}

#[test]
fn handlers_that_land_in_slow_paths_with_try_locks_do_not_block() {
    survives("nested", &CROWDED);
}
