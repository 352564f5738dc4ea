//! Large machines, simulated: the fallback with many cells and as many threads, each on a cell of its own.
//!
//! The number of cells is fixed at the first allocation, so the tests run in a process of their own, with the
//! environment set: this file starts itself again.

mod common;

use gracealloc::{GraceAlloc, stats, trim};
use std::alloc::{GlobalAlloc, Layout};
use std::sync::mpsc::sync_channel;
use std::thread;

/// As many processors as are simulated; the variable says it to the process that does it.
const CELLS: [usize; 2] = [128, 512];
const SHARDS: &str = "GRACEALLOC_SHARDS";

/// Runs one test of this file again with each of those numbers of cells. In the process where that is so, the number.
fn with_many_cells(test: &str) -> Option<usize> {
    if let Ok(shards) = std::env::var(SHARDS) {
        free(alloc(small()), small());
        assert_eq!(stats().cells.to_string(), shards);
        return Some(stats().cells as usize);
    }
    for cells in CELLS {
        let mut again = common::again();
        again.args(["--exact", test, "--nocapture"]).env("GRACEALLOC_RSEQ", "0").env(SHARDS, cells.to_string());
        assert!(again.status().unwrap().success(), "{test} in a process with {cells} cells");
    }
    None
}

fn small() -> Layout {
    Layout::new::<[u64; 8]>()
}

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: no layout here is empty.
    unsafe { GraceAlloc.alloc(layout) }
}

fn free(ptr: *mut u8, layout: Layout) {
    // SAFETY: callers pass what `alloc` gave them, once, with its layout.
    unsafe { GraceAlloc.dealloc(ptr, layout) }
}

#[test]
fn what_each_cell_strands_is_bounded_and_trim_gets_it_back() {
    let Some(cells) = with_many_cells("what_each_cell_strands_is_bounded_and_trim_gets_it_back") else { return };
    for _ in 0..cells {
        thread::spawn(|| {
            let objects: Vec<_> = (0..100).map(|_| alloc(small())).collect();
            objects.into_iter().for_each(|p| free(p, small()));
        })
        .join()
        .unwrap();
    }
    let before = stats();
    assert!(before.magazines_in_slots >= cells as u64, "each cell has one: {before}");
    let class = before.classes.iter().find(|c| c.bytes == 64).unwrap();
    assert!(class.cached <= 2 * 260 * cells as u64, "two magazines each at most: {before}");
    trim();
    let after = stats();
    assert_eq!(after.magazines_in_slots, 0);
    assert_eq!(after.classes.iter().find(|c| c.bytes == 64).map_or(0, |c| c.cached), 0, "{after}");
    assert_eq!(after.magazines_empty, after.magazines, "none lost");
}

#[test]
fn a_producer_and_a_consumer_in_different_groups_exchange_magazines() {
    if with_many_cells("a_producer_and_a_consumer_in_different_groups_exchange_magazines").is_none() {
        return;
    }
    let (send, receive) = sync_channel::<usize>(1000);
    let consumer = thread::spawn(move || receive.into_iter().for_each(|p| free(p as *mut u8, small())));
    let elsewhere: Vec<_> = (0..40).map(|_| thread::spawn(|| free(alloc(small()), small()))).collect();
    elsewhere.into_iter().for_each(|t| t.join().unwrap()); // the producer's cell is in another group
    let producer = thread::spawn(move || {
        for _ in 0..1_000_000 {
            send.send(alloc(small()).expose_provenance()).unwrap();
        }
    });
    producer.join().unwrap();
    consumer.join().unwrap();
    let stats = stats();
    let class = stats.classes.iter().find(|c| c.bytes == 64).unwrap();
    assert!(class.objects < 100_000, "a million objects went through few: {stats}");
}
