//! A configuration that is read all the time and replaced now and then: `Rcu<T>`, without unsafe code.
//!
//! Readers never wait and never copy; each sees one whole configuration for as long as its guard is open. Writers lose nothing
//! of each other's. Old ones are dropped, with their strings, when their last reader has left.

use gracealloc::{GraceAlloc, Rcu, read};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

const CHANGES: u64 = 500;
const WRITERS: u64 = 2;
const READERS: u64 = 3;

struct Config {
    version: u64,
    name: String,
}

static CONFIG: LazyLock<Rcu<Config>> = LazyLock::new(|| Rcu::new(Config { version: 0, name: "version 0".into() }));
static DROPPED: AtomicU64 = AtomicU64::new(0);

impl Drop for Config {
    fn drop(&mut self) {
        self.name.clear(); // who still read it would notice
        DROPPED.fetch_add(1, Relaxed);
    }
}

/// Reads until the last version is there; how often.
fn follow() -> u64 {
    let (mut reads, mut newest) = (0, 0);
    while newest < WRITERS * CHANGES {
        let guard = read();
        let config = CONFIG.load(&guard);
        assert_eq!(config.name, format!("version {}", config.version), "one whole configuration");
        assert!(config.version >= newest, "and none that is older than the last");
        (reads, newest) = (reads + 1, config.version);
    }
    reads
}

fn change() {
    for _ in 0..CHANGES {
        CONFIG.update(|old| {
            let version = old.version + 1;
            Config { version, name: format!("version {version}") }
        });
    }
}

fn main() {
    let reads: u64 = thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(follow)).collect();
        (0..WRITERS).for_each(|_| drop(scope.spawn(change)));
        readers.into_iter().map(|reader| reader.join().unwrap()).sum()
    });
    gracealloc::barrier();
    let guard = read();
    assert_eq!(CONFIG.load(&guard).version, WRITERS * CHANGES, "no change was lost");
    assert!(DROPPED.load(Relaxed) >= WRITERS * CHANGES, "nor is any old one left; some were made in vain");
    println!("{} changes under {reads} reads", WRITERS * CHANGES);
}

#[test]
fn runs() {
    main();
}
