//! A hash map that is read without a lock while it changes and grows, in safe code: the table is an `Rcu`, and each bucket a
//! small list that is replaced as a whole. To grow, a writer fills a larger table and replaces the old one, in which readers
//! go on undisturbed; it is dropped, with its buckets, when they have left.

use gracealloc::{GraceAlloc, Rcu, read};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::{iter, sync::Mutex, thread};

#[global_allocator]
static GLOBAL: GraceAlloc = GraceAlloc;

type Bucket = Vec<(u64, u64)>;
struct Table(Vec<Rcu<Bucket>>);

struct Map {
    table: Rcu<Table>,
    entries: Mutex<usize>, // how many; writers lock it
}

impl Table {
    fn bucket(&self, key: u64) -> &Rcu<Bucket> {
        &self.0[(key.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % self.0.len()]
    }
}

impl Map {
    fn with_buckets(n: usize) -> Self {
        let table = Table((0..n).map(|_| Rcu::default()).collect());
        Self { table: Rcu::new(table), entries: Mutex::new(0) }
    }

    fn get(&self, key: u64) -> Option<u64> {
        let guard = read();
        let bucket = self.table.load(&guard).bucket(key).load(&guard);
        bucket.iter().find(|entry| entry.0 == key).map(|entry| entry.1)
    }

    /// Sets a key's value, or removes it.
    fn set(&self, key: u64, value: Option<u64>) {
        let mut entries = self.entries.lock().unwrap();
        let (guard, had) = (read(), self.get(key).is_some());
        let table = self.table.load(&guard);
        let others = |old: &Bucket| old.iter().copied().filter(|entry| entry.0 != key).collect::<Bucket>();
        table.bucket(key).update(|old| others(old).into_iter().chain(value.map(|value| (key, value))).collect());
        *entries = *entries + usize::from(value.is_some()) - usize::from(had);
        if *entries > 2 * table.0.len() {
            let larger = Map::with_buckets(2 * table.0.len());
            let all = table.0.iter().flat_map(|bucket| bucket.load(&guard));
            all.for_each(|&(key, value)| larger.set(key, Some(value)));
            self.table.replace(larger.table.into_inner());
        }
    }
}

const KEYS: u64 = 20_000;

fn main() {
    let (map, done) = (Map::with_buckets(8), AtomicBool::new(false));
    let stays = |key: &u64| key.is_multiple_of(10);
    let others = || (0..KEYS).filter(|key| !stays(key));
    (0..KEYS).filter(stays).for_each(|key| map.set(key, Some(!key)));
    let present = |key: &u64| map.get(*key).inspect(|value| assert_eq!(*value, !key)).is_some();
    let look = || (0..KEYS).filter(stays).for_each(|key| assert!(present(&key), "what stays is always found"));
    thread::scope(|scope| {
        let read_on = || iter::repeat(()).take_while(|()| !done.load(Relaxed)).for_each(|()| look());
        drop((scope.spawn(read_on), scope.spawn(read_on)));
        others().for_each(|key| map.set(key, Some(!key)));
        others().for_each(|key| map.set(key, None));
        done.store(true, Relaxed);
    });
    assert!((0..KEYS).filter(present).eq((0..KEYS).filter(stays)), "and nothing else is left");
    assert!(map.table.load(&read()).0.len() > 4096, "the table grew under its readers");
    println!("{KEYS} entries came and went");
}

#[test]
fn runs() {
    main();
}
