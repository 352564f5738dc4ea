//! The stack under every schedule: a node has one owner, and its owner sees what the last one did to it.
//!
//! Each node has a cell that its owner writes to; loom fails the model when two accesses of a cell are not ordered.

use super::*;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

const NODES: usize = 3;

struct World {
    stack: TaggedStack,
    links: [AtomicU32; NODES],
    cells: [UnsafeCell<u32>; NODES],
}

// SAFETY: the cells are checked by loom, which is the point.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl Nodes for World {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.links[index as usize - 1]
    }
}

impl World {
    /// A stack with the nodes `n..=1`, node 1 on top.
    fn new(n: u32) -> Arc<Self> {
        let world = Self {
            stack: TaggedStack::new(),
            links: core::array::from_fn(|_| AtomicU32::new(0)),
            cells: core::array::from_fn(|_| UnsafeCell::new(0)),
        };
        (1..=n).rev().for_each(|node| world.stack.push(&world, node));
        Arc::new(world)
    }

    /// The caller owns the node and uses it.
    fn touch(&self, node: u32) -> u32 {
        // SAFETY: loom checks that accesses are ordered.
        self.cells[node as usize - 1].with_mut(|n| unsafe { *n += 1 });
        node
    }

    fn pop(&self) -> Option<u32> {
        self.stack.pop(self).map(|node| self.touch(node))
    }

    fn push(&self, node: u32) {
        self.touch(node);
        self.stack.push(self, node);
    }

    fn pops(&self, n: usize) -> Vec<u32> {
        std::iter::from_fn(|| self.pop()).take(n).collect()
    }
}

/// Runs the steps on a thread each, beginning with `inside` nodes, and checks that the nodes `1..=n` have one owner each.
fn check(inside: u32, n: u32, steps: &'static [fn(&World) -> Vec<u32>]) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = model.preemption_bound.or(Some(3));
    model.check(move || {
        let world = World::new(inside);
        let spawn = |step: &'static fn(&World) -> Vec<u32>| {
            let world = world.clone();
            thread::spawn(move || step(&world))
        };
        let threads: Vec<_> = steps[1..].iter().map(spawn).collect();
        let mut all = steps[0](&world);
        all.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
        all.extend(world.pops(NODES + 1));
        all.sort_unstable();
        assert_eq!(all, (1..=n).collect::<Vec<_>>());
    });
}

#[test]
fn a_node_that_comes_back_on_top_does_not_deceive_a_slow_popper() {
    // The second thread takes nodes 1 and 2 and puts 1 back, between the first one's look and its exchange.
    check(
        3,
        3,
        &[
            |w| w.pops(1),
            |w| {
                let taken = w.pops(2);
                if let Some(&node) = taken.first() {
                    w.push(node);
                }
                taken.get(1..).unwrap_or_default().to_vec()
            },
        ],
    );
}

#[test]
fn pushers_and_a_popper_share_out_the_nodes() {
    check(
        1,
        3,
        &[
            |w| w.pops(2),
            |w| {
                w.push(2);
                vec![]
            },
            |w| {
                w.push(3);
                vec![]
            },
        ],
    );
}

#[test]
fn three_poppers_never_own_one_node_together() {
    check(2, 2, &[|w| w.pops(1), |w| w.pops(1), |w| w.pops(1)]);
}
