//! The drain of crossbeam-epoch, in a process of its own: with other threads about, one of them may still be running
//! what it has taken from the queue.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use alloc_bench::schemes::Scheme;
use alloc_bench::schemes::defer_destroy::DeferDestroy;
use crossbeam_epoch as epoch;

static DONE: AtomicUsize = AtomicUsize::new(0);

#[test]
fn a_drain_outlasts_what_ended_threads_have_deferred() {
    let defer = || (0..1000).for_each(|_| epoch::pin().defer(|| DONE.fetch_add(1, Ordering::SeqCst)));
    let threads: Vec<_> = (0..2).map(|_| thread::spawn(defer)).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    DeferDestroy.drain();
    assert_eq!(DONE.load(Ordering::SeqCst), 2000);
}
