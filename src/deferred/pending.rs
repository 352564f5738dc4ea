//! Queues of what waits for its grace period, oldest first.
//!
//! ```text
//!   push (any context)              poll (whoever gets `polling`)
//!     incoming: a tagged stack  -->   waiting: the stack reversed, when the list before it is used up
//!                                     take its first while that has been reached; stop at the first that has not
//! ```
//!
//! Invariants:
//! - A node's stamp is final before it is pushed, and nobody changes it while the node is here.
//! - `waiting` and the links of its nodes belong to who holds `polling`. Nobody waits for that lock but a barrier and a
//!   fork, so a signal handler that meets it goes on.
//! - Pushes may be out of order by as much as threads were held up between stamp and push. That costs time, never
//!   safety: each node's own stamp decides.

use crate::grace;
use crate::platform::{delay, thread};
use crate::tagged_stack::{Nodes, TaggedStack};
use core::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Nodes with the position in the sequence of grace periods that each waits for.
pub(super) trait Stamped: Nodes {
    fn stamp(&self, index: u32) -> &AtomicU64;
}

/// A queue of stamped nodes.
pub(super) struct Pending {
    incoming: TaggedStack,
    polling: AtomicBool,
    waiting: AtomicU32,
}

impl Pending {
    pub(super) const fn new() -> Self {
        Self { incoming: TaggedStack::new(), polling: AtomicBool::new(false), waiting: AtomicU32::new(0) }
    }

    /// Stamps a node whose content is final and queues it.
    pub(super) fn stamp_and_push(&self, nodes: &impl Stamped, index: u32) {
        delay::point();
        let stamp = grace::snapshot();
        delay::point();
        nodes.stamp(index).store(stamp, Relaxed); // published by the push
        self.incoming.push(nodes, index);
        grace::demand(stamp);
    }

    /// Hands out up to `limit` nodes whose time has come; none if somebody else is at it.
    pub(super) fn poll(&self, nodes: &impl Stamped, limit: usize, each: impl FnMut(u32)) {
        if !self.is_empty() && self.try_lock() {
            self.poll_locked(nodes, limit, each);
        }
    }

    /// Hands out all nodes whose time has come, when whoever is at it is done.
    pub(super) fn poll_patiently(&self, nodes: &impl Stamped, each: impl FnMut(u32)) {
        self.lock();
        self.poll_locked(nodes, usize::MAX, each);
    }

    /// Leaves the lock that the caller has taken.
    fn poll_locked(&self, nodes: &impl Stamped, limit: usize, each: impl FnMut(u32)) {
        core::iter::from_fn(|| self.next(nodes)).take(limit).for_each(each);
        self.unlock();
    }

    /// The oldest node, off the list, if its time has come.
    fn next(&self, nodes: &impl Stamped) -> Option<u32> {
        if self.waiting.load(Relaxed) == 0 {
            self.waiting.store(reversed(nodes, self.incoming.take_all()), Relaxed);
        }
        let first = self.waiting.load(Relaxed);
        if first == 0 || !grace::has_elapsed(nodes.stamp(first).load(Relaxed)) {
            return None;
        }
        self.waiting.store(nodes.link(first).load(Relaxed), Relaxed);
        Some(first)
    }

    /// Whether there is nothing; a hint where others are at work.
    pub(super) fn is_empty(&self) -> bool {
        self.incoming.is_empty() && self.waiting.load(Relaxed) == 0
    }

    /// How many nodes there are; only where no other thread runs.
    pub(super) fn count(&self, nodes: &impl Stamped) -> u64 {
        let follow = |&node: &u32| Some(nodes.link(node).load(Relaxed)).filter(|&next| next != 0);
        let chain = |first: u32| core::iter::successors(Some(first).filter(|&first| first != 0), follow).count() as u64;
        chain(self.waiting.load(Relaxed)) + chain(self.incoming.top())
    }

    // Acquire and Release: one poller after the other sees what the last one left.
    fn try_lock(&self) -> bool {
        !self.polling.load(Relaxed) && !self.polling.swap(true, Acquire)
    }

    /// Waits for the poller to be done and keeps others out.
    pub(super) fn lock(&self) {
        while !self.try_lock() {
            thread::pause();
        }
    }

    /// Leaves the lock; in the child of a fork also that of a thread which is not there.
    pub(super) fn unlock(&self) {
        self.polling.store(false, Release);
    }
}

/// Turns a chain round and returns its new first node.
fn reversed(nodes: &impl Nodes, mut node: u32) -> u32 {
    let mut first = 0;
    while node != 0 {
        let next = nodes.link(node).swap(first, Relaxed);
        first = node;
        node = next;
    }
    first
}
