//! All states that a case can reach, and the shortest way to a broken one.
//!
//! Problem: nothing may be left untried, and what is found must be readable.
//!
//! Invariants:
//! - every move of every state is made exactly once; states are compared whole, not by hash;
//! - breadth first: the trace of a breach has the fewest moves possible;
//! - from every state an end can be reached: a thread that can never go on is a breach, and so is one that waits for
//!   what nobody will do any more.
//!
//! ```text
//!   start ─┬─ step ───── state ─┬─ ...      reached: (parent, move) per state, enough to replay the way there
//!          ├─ preempt ── state  └─ seen: closes the loop of every restart
//!          └─ signal ─── ...
//! ```

use crate::engine::{Machine, Model};
use crate::world::{Move, World};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

pub(crate) struct Report {
    pub(crate) states: usize,
    pub(crate) moves: usize,
    /// States in which every thread has ended.
    pub(crate) ends: usize,
    pub(crate) breach: Option<Breach>,
}

pub(crate) struct Breach {
    pub(crate) what: String,
    pub(crate) trace: Vec<String>,
}

/// The way to a state: its parent's place in the list, and the move from there.
type Reached = Vec<(usize, Move)>;

pub(crate) fn explore<M: Model>(machine: &Machine<M>, start: World<M>) -> Report {
    let start = Rc::new(start);
    let mut seen = HashMap::with_hasher(BuildHasherDefault::<Fold>::default());
    seen.insert(Rc::clone(&start), 0);
    let mut reached: Reached = vec![(0, Move::Step(0))];
    let mut frontier = VecDeque::from([(0, Rc::clone(&start))]);
    let (mut edges, mut ends, mut broken) = (Vec::new(), Vec::new(), None);
    while let Some((place, world)) = frontier.pop_front() {
        if world.finished() {
            ends.push(place as u32);
        }
        if let Err(what) = world.check() {
            broken = Some((place, what));
            break;
        }
        for chosen in world.moves(machine) {
            let mut next = (*world).clone();
            next.make(machine, chosen);
            let next = Rc::new(next);
            let to = match seen.entry(next) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    frontier.push_back((reached.len(), Rc::clone(new.key())));
                    reached.push((place, chosen));
                    *new.insert(reached.len() - 1)
                }
            };
            edges.push((to as u32, place as u32));
        }
    }
    let (states, moves) = (reached.len(), edges.len());
    let broken = broken.or_else(|| Some((hopeless(states, edges, &ends)?, "a thread is stuck".into())));
    Report {
        states,
        moves,
        ends: ends.len(),
        breach: broken.map(|(place, what)| Breach { what, trace: replay(machine, &start, &reached, place) }),
    }
}

/// The first state from which no end can be reached. `edges` lead from the second to the first.
fn hopeless(states: usize, mut edges: Vec<(u32, u32)>, ends: &[u32]) -> Option<usize> {
    edges.sort_unstable();
    let mut hope = vec![false; states];
    let mut work = ends.to_vec();
    while let Some(place) = work.pop() {
        if !std::mem::replace(&mut hope[place as usize], true) {
            let first = edges.partition_point(|&(to, _)| to < place);
            work.extend(edges[first..].iter().take_while(|&&(to, _)| to == place).map(|&(_, from)| from));
        }
    }
    hope.iter().position(|&hope| !hope)
}

/// A hash that is quick without optimisation too: states are compared whole, so it may be weak.
#[derive(Default)]
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte));
            self.write_u64(word);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// The moves to a state, in words.
fn replay<M: Model>(machine: &Machine<M>, start: &World<M>, reached: &Reached, mut place: usize) -> Vec<String> {
    let mut way = Vec::new();
    while place != 0 {
        way.push(reached[place].1);
        place = reached[place].0;
    }
    let mut world = start.clone();
    let mut told = |chosen| {
        let line = world.describe(chosen);
        world.make(machine, chosen);
        line
    };
    way.into_iter().rev().map(&mut told).collect()
}

impl Report {
    /// Every state was fine, and the case did come to an end.
    pub(crate) fn assert_clean(&self, case: &str) {
        if let Some(breach) = &self.breach {
            panic!("{case}: {}\n  {}", breach.what, breach.trace.join("\n  "));
        }
        println!("{case}: clean, {} states, {} moves, {} ends", self.states, self.moves, self.ends);
        assert!(self.ends > 0, "{case}: never ends");
    }

    /// The seeded bug was found, as the breach that it should be.
    pub(crate) fn assert_breach(&self, case: &str, expected: &str) {
        let Some(breach) = &self.breach else {
            panic!("{case}: not found in {} states", self.states);
        };
        let trace = breach.trace.join("\n  ");
        println!("{case}: {} (state {})\n  {trace}", breach.what, self.states);
        assert!(breach.what.contains(expected), "{case}: {}, not {expected}", breach.what);
    }
}
