//! Torture, after the kernel's rcutorture: readers that look twice, writers that defer, objects that age by grace
//! periods, and a scribbler that spoils whatever is free.
//!
//! Problem: an object that is given back one reader too early looks as it did until somebody uses its memory. So somebody
//! does, at once, and every reader compares what it sees at the start and at the end of its section. And grace periods are
//! looked at by themselves, with objects that no allocator touches (`ages`).
//!
//! ```text
//!   reader      enter ─ load slot ─ look ─ .. delay, nest, yield, move, defer, pass on .. ─ look again ─ leave
//!   ager        new object into its slot, the old one a grace period older again and again
//!   writer      new object into its slot, the old one deferred: alone, in bulk, as a reader, in an atomic section
//!   handler     interrupts readers and writers, reads, and writes in slots of its own
//!   scribbler   allocates objects of the same classes, spoils them, frees them
//!   churn       threads that read and defer a little and end
//!   disturb     floods of deferrals, readers that stall, bursts of threads; shuffle: CPUs taken away and given back
//! ```
//!
//! Invariants:
//! - a slot has one writer, which unlinks with a plain release store: it may stay in the store buffer for as long as the
//!   allocator lets it;
//! - a reader touches an object's two words by atomic loads only, so looking at a free object is no crime, only a find;
//! - afterwards nothing is deferred any more, and no object of the classes used is in use.
//!
//! Each run is a process of its own: on our readers, on crossbeam's, on both; with restartable sequences, without, and with
//! hardly any page to be had; all of the above, or readers and agers alone, whose grace periods are the shortest. `SEED=<number>`
//! repeats its random numbers, `SECONDS=<number>` or `READS=<number>` sets its length; the last line is the summary.
//! `scripts/torture` runs it for long, with delays between the steps of sections and grace periods.

mod ages;
#[path = "../common/mod.rs"]
mod common;
mod disturb;
mod guards;
mod handlers;
#[path = "../stress/machine.rs"]
#[allow(dead_code, reason = "the tests there need more of it")]
mod machine;
mod objects;
mod readers;
mod writers;

use ages::AGES;
use gracealloc::GraceAlloc;
use guards::{Kinds, Post};
use handlers::Handled;
use machine::{Rng, Ticker, cpus, seed};
use objects::{Finds, LAYOUTS, Object};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

/// Few enough that readers and writers meet, too many for one cache line.
const SLOTS: usize = 256;
/// The last of them belong to signal handlers.
const HANDLED: usize = 16;

struct World {
    slots: [AtomicPtr<Object>; SLOTS],
    finds: Finds,
    reads: AtomicU64,
    writes: AtomicU64,
    stalls: AtomicU64,
    threads: AtomicU64,
    shuffles: AtomicU64,
    kinds: Kinds,
    cast: Cast,
    post: Post,
    stop: AtomicBool,
    over: AtomicBool,
    cpus: Vec<usize>,
    writers: usize,
}

impl World {
    fn new(cast: Cast) -> Self {
        let slots = std::array::from_fn(|slot| AtomicPtr::new(Object::new(layout_of(slot), slot as u64)));
        let cpus = cpus();
        let writers = cpus.len().clamp(2, 8);
        Self {
            slots,
            finds: Finds::new(),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            stalls: AtomicU64::new(0),
            threads: AtomicU64::new(0),
            shuffles: AtomicU64::new(0),
            kinds: Kinds::chosen(),
            cast,
            post: Post::new(),
            stop: AtomicBool::new(false),
            over: AtomicBool::new(false),
            cpus,
            writers,
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Everybody at work until the length is reached, and somebody who empties the post: who waits for grace periods waits
    /// for what is under way, too.
    fn run(&self, seed: u64, length: Length) {
        let _handled = Handled::by(self);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !self.over.load(Relaxed) {
                    std::thread::sleep(Duration::from_millis(2));
                    self.post.finish(self);
                }
            });
            self.run_crew(seed, length);
            self.over.store(true, Relaxed);
        });
    }

    fn run_crew(&self, seed: u64, length: Length) {
        std::thread::scope(|scope| {
            // Short grace periods: as many as can run at once with the ager. On shared records one that is preempted between
            // two steps counts as well.
            let readers = match self.cast {
                Cast::All => self.writers,
                Cast::Ages if gracealloc::stats().rseq => self.writers - 1,
                Cast::Ages => self.writers,
            };
            for n in 0..readers {
                scope.spawn(move || readers::read(self, Rng(seed ^ (n as u64) << 8)));
            }
            scope.spawn(move || ages::age(|| self.stopped(), Rng(seed ^ 1 << 18)));
            if self.cast == Cast::All {
                for n in 0..self.writers {
                    scope.spawn(move || writers::write(self, n, Rng(seed ^ n as u64)));
                }
                scope.spawn(move || writers::scribble(self, Rng(seed ^ 1 << 16)));
                scope.spawn(move || writers::churn(self, Rng(seed ^ 1 << 17)));
                scope.spawn(move || disturb::disturb(self, Rng(seed ^ 1 << 19)));
                scope.spawn(move || disturb::shuffle(self, Rng(seed ^ 1 << 20)));
            }
            let begin = Instant::now();
            while !length.is_reached(begin, self.reads.load(Relaxed)) && self.finds.count() == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            self.stop.store(true, Relaxed);
        });
    }

    /// Defers what is still linked and waits for all of it.
    fn finish(&self) {
        self.post.finish(self);
        AGES.finish();
        for (slot, object) in self.slots.iter().enumerate() {
            // SAFETY: no thread reads or writes any more.
            unsafe { gracealloc::deferred_free(object.load(Relaxed).cast(), layout_of(slot)) };
        }
        gracealloc::barrier();
    }
}

fn layout_of(slot: usize) -> std::alloc::Layout {
    LAYOUTS[slot % LAYOUTS.len()]
}

/// Who is at work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cast {
    All,
    /// Readers, an ager, and the worker.
    Ages,
}

/// How long to go on.
#[derive(Clone, Copy)]
enum Length {
    Time(Duration),
    Reads(u64),
}

impl Length {
    fn chosen() -> Self {
        let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
        match (number("READS"), number("SECONDS")) {
            (Some(reads), _) => Self::Reads(reads),
            (None, seconds) => Self::Time(seconds.map_or(Duration::from_millis(2500), Duration::from_secs)),
        }
    }

    fn is_reached(self, begin: Instant, reads: u64) -> bool {
        match self {
            Self::Time(limit) => begin.elapsed() >= limit,
            Self::Reads(limit) => reads >= limit,
        }
    }
}

/// What is in use: objects of the classes that this test allocates from, and all bytes.
fn in_use() -> (Vec<u64>, u64) {
    let stats = gracealloc::stats();
    let class = |size| stats.classes.iter().find(|class| class.bytes >= size).map_or(0, |class| class.live);
    (LAYOUTS.iter().map(|layout| class(layout.size())).collect(), stats.live_bytes)
}

fn torture(cast: Cast) {
    let seed = seed();
    AGES.prepare();
    // What threads, readers and collectors keep once they have been there is in use from here on.
    let first = World::new(cast);
    first.run(seed, Length::Time(Duration::from_millis(100)));
    first.finish();
    let (objects, bytes) = in_use();
    let world = Box::new(World::new(cast));
    let begin = Instant::now();
    world.run(seed, Length::chosen());
    let seconds = begin.elapsed().as_secs_f64();
    world.finish();
    let stats = gracealloc::stats();
    summarize(&world, &stats, seconds, seed);
    assert_eq!(world.finds.count(), 0, "objects were given back too early");
    assert_eq!(first.finds.count(), 0, "objects were given back too early, in the first moments");
    assert_eq!(stats.deferred_objects, 0, "barrier left something behind");
    proves_what_it_should(&stats, cast);
    drop(world);
    let (objects_now, bytes_now) = in_use();
    assert_eq!(objects_now, objects, "objects were lost, or are in use twice");
    assert!(bytes_now < bytes + (1 << 20), "{bytes_now} bytes in use, {bytes} before");
}

fn summarize(world: &World, stats: &gracealloc::Stats, seconds: f64, seed: u64) {
    println!(
        "torture: {:?} readers, rseq {}, {seconds:.1} s, {} reads, {} updates, {} grace periods, {} early{}, ages{}, {} writes, \
         {} pages recycled, {} marks, {} waits, {} stalls, {} threads, {} shuffles, {} signals, SEED={seed}",
        world.kinds,
        stats.rseq,
        world.reads.load(Relaxed),
        AGES.updates(),
        stats.grace_periods,
        world.finds.count(),
        world.finds.first(),
        AGES.histogram(),
        world.writes.load(Relaxed),
        stats.pages_recycled,
        stats.deferred_marks,
        stats.inline_waits,
        world.stalls.load(Relaxed),
        world.threads.load(Relaxed),
        world.shuffles.load(Relaxed),
        Ticker::finish(),
    );
}

/// Each kind of run has gone the way that it is there for.
fn proves_what_it_should(stats: &gracealloc::Stats, cast: Cast) {
    let is_set = |name, value: &str| std::env::var(name).is_ok_and(|set| set.contains(value));
    assert!(stats.pages_recycled > 0 || cast == Cast::Ages, "no page ever came back");
    assert!(AGES.updates() > 0, "nothing has aged");
    assert!(!(stats.rseq && is_set("GLIBC_TUNABLES", "rseq=0")), "restartable sequences are in use");
    let scarce = stats.deferred_marks > 0 && stats.inline_waits > 0;
    assert!(scarce || !is_set("GRACEALLOC_BUDGET_BYTES", ""), "there were always pages");
}

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn child() {
    match common::task().as_deref() {
        Some("torture") => torture(Cast::All),
        Some("ages") => torture(Cast::Ages),
        task => panic!("no task {task:?}"),
    }
}

fn survives(task: &str, variables: &[(&str, &str)]) {
    let output = common::child(task).envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    print!("{}", text(&output.stdout));
    assert!(output.status.success(), "{}: {}", output.status, text(&output.stderr));
}

const FALLBACK: (&str, &str) = ("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
const OWN: (&str, &str) = ("READERS", "own");
const CROSSBEAM: (&str, &str) = ("READERS", "crossbeam");

#[test]
fn no_object_is_given_back_under_a_reader_of_ours() {
    survives("torture", &[OWN]);
}

#[test]
fn no_object_is_given_back_under_a_reader_of_crossbeam() {
    survives("torture", &[CROSSBEAM]);
}

#[test]
fn no_object_is_given_back_under_a_reader_with_try_locks() {
    survives("torture", &[FALLBACK]);
}

#[test]
fn no_object_is_given_back_under_a_reader_where_pages_are_scarce() {
    survives("torture", &[("GRACEALLOC_BUDGET_BYTES", "1048576")]);
}

#[test]
fn short_grace_periods_wait_for_readers_of_ours() {
    survives("ages", &[OWN]);
}

#[test]
fn short_grace_periods_wait_for_readers_of_ours_on_shared_records() {
    survives("ages", &[OWN, FALLBACK]);
}
