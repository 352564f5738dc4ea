//! A lock-free stack of numbered, type-stable nodes.
//!
//! The head is one word: the number of the top node and a tag that every change increments. A popper that was stopped
//! between reading the head and exchanging it may find the same node on top again with another successor (the ABA
//! problem); the tag then differs and the exchange fails.
//!
//! ```text
//!   head: | tag : 40 bits | index : 24 bits |      index 0: the stack is empty
//!                               |
//!                               v
//!                           node --link--> node --link--> 0
//! ```
//!
//! Invariants:
//! - Nodes are never unmapped: a popper may read the link of a node that another thread owns by now.
//! - A node is on at most one stack; who pops it owns it.
//! - Forty bits of tag: at a change every nanosecond a popper would have to sleep for 18 minutes and then wake at
//!   exactly the same tag.
//!
//! Lock-free in the strict sense, so signal handlers may use it: a stopped operation stops nobody else.

use crate::platform::sync::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Bits of a node's number.
pub(crate) const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;

/// Where the stack finds the link of a node.
pub(crate) trait Nodes {
    /// The link of node `index`, which exists and is never unmapped.
    fn link(&self, index: u32) -> &AtomicU32;
}

/// A stack of node numbers.
pub(crate) struct TaggedStack {
    head: AtomicU64,
}

const fn index_of(head: u64) -> u32 {
    (head & INDEX_MASK) as u32
}

const fn with_next_tag(head: u64, index: u32) -> u64 {
    ((head >> INDEX_BITS).wrapping_add(1) << INDEX_BITS) | index as u64
}

impl TaggedStack {
    /// An empty stack.
    #[cfg(not(loom))]
    pub(crate) const fn new() -> Self {
        Self { head: AtomicU64::new(0) }
    }

    #[cfg(loom)]
    pub(crate) fn new() -> Self {
        Self { head: AtomicU64::new(0) }
    }

    /// Whether it had no node at this moment.
    pub(crate) fn is_empty(&self) -> bool {
        index_of(self.head.load(Relaxed)) == 0
    }

    /// Puts a node that the caller owns on top.
    pub(crate) fn push(&self, nodes: &impl Nodes, index: u32) {
        debug_assert!(index != 0 && u64::from(index) <= INDEX_MASK);
        let mut head = self.head.load(Relaxed); // Relaxed: the exchange decides
        loop {
            nodes.link(index).store(index_of(head), Relaxed); // Relaxed: published by the exchange
            // AcqRel: the release hands the node and its link to `pop`'s acquire. The acquire keeps a chain: a popper
            // that reads this head must also see the links that pushes before this one stored.
            match self.head.compare_exchange_weak(head, with_next_tag(head, index), AcqRel, Relaxed) {
                Ok(_) => return,
                Err(seen) => head = seen,
            }
        }
    }

    /// Takes the top node.
    pub(crate) fn pop(&self, nodes: &impl Nodes) -> Option<u32> {
        let mut head = self.head.load(Acquire); // Acquire: the link is read next; pairs with `push`
        loop {
            let index = index_of(head);
            if index == 0 {
                return None;
            }
            // Relaxed: if the node was popped meanwhile this is some other value, and the tag fails the exchange.
            let next = nodes.link(index).load(Relaxed);
            // AcqRel: takes over the node from `push`, and keeps the chain as there. Acquire: the next link is read.
            match self.head.compare_exchange_weak(head, with_next_tag(head, next), AcqRel, Acquire) {
                Ok(_) => return Some(index),
                Err(seen) => head = seen,
            }
        }
    }

    /// The top node, 0 when there is none; a hint where others push and pop.
    #[cfg(not(loom))]
    pub(crate) fn top(&self) -> u32 {
        index_of(self.head.load(Acquire))
    }

    /// Takes all nodes, the last pushed first: the top one, whose links lead to the others and then to 0.
    pub(crate) fn take_all(&self) -> u32 {
        let mut head = self.head.load(Relaxed); // Relaxed: the exchange decides
        loop {
            if index_of(head) == 0 {
                return 0;
            }
            // AcqRel: takes over every node from its `push`, whose releases make a chain.
            match self.head.compare_exchange_weak(head, with_next_tag(head, 0), AcqRel, Relaxed) {
                Ok(_) => return index_of(head),
                Err(seen) => head = seen,
            }
        }
    }
}

#[cfg(all(test, loom))]
mod model;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32 as Count;

    struct Table(Vec<AtomicU32>);

    impl Nodes for Table {
        fn link(&self, index: u32) -> &AtomicU32 {
            &self.0[index as usize]
        }
    }

    fn table(n: u32) -> Table {
        Table((0..=n).map(|_| AtomicU32::new(0)).collect())
    }

    #[test]
    fn the_last_pushed_comes_first() {
        let (nodes, stack) = (table(3), TaggedStack::new());
        assert!(stack.is_empty());
        (1..=3).for_each(|i| stack.push(&nodes, i));
        assert_eq!([(); 4].map(|()| stack.pop(&nodes)), [Some(3), Some(2), Some(1), None]);
    }

    #[test]
    fn threads_never_own_one_node_together() {
        const NODES: u32 = 8;
        let (nodes, stack) = (table(NODES), TaggedStack::new());
        let owners: Vec<Count> = (0..=NODES).map(|_| Count::new(0)).collect();
        (1..=NODES).for_each(|i| stack.push(&nodes, i));
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    for _ in 0..if cfg!(miri) { 100 } else { 100_000 } {
                        if let Some(i) = stack.pop(&nodes) {
                            assert_eq!(owners[i as usize].fetch_add(1, Relaxed), 0);
                            owners[i as usize].fetch_sub(1, Relaxed);
                            stack.push(&nodes, i);
                        }
                    }
                });
            }
        });
        let mut left: Vec<_> = std::iter::from_fn(|| stack.pop(&nodes)).collect();
        left.sort_unstable();
        assert_eq!(left, (1..=NODES).collect::<Vec<_>>());
    }
}
