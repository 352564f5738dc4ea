//! Growth: vectors and strings that grow by appending until they are as long as they are to be, many at a time, so that
//! what stands behind one in memory is mostly another. What is measured is `realloc`: in place where there is room, with
//! a copy where there is not.

use anyhow::Result;

use super::{Measures, Passes, Retires, Setup, Spec, Worker, Workload};
use crate::latency::Latencies;

/// Vectors of words: one operation appends 512 B.
pub const VECTORS: Spec = Spec {
    name: "grow-vec",
    about: "append 512 B to one of 64 vectors, which end at 512 B to 1 MiB, each power of two equally often",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare::<Vec<u64>>(setup, 400_000),
};

/// Strings: one operation appends a word.
pub const STRINGS: Spec = Spec {
    name: "grow-string",
    about: "append 1 to 16 B to one of 1024 strings, which end at 16 B to 4 KiB, each power of two equally often",
    by_default: false,
    measures: Measures::Time,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| prepare::<String>(setup, 4_000_000),
};

/// What can grow.
trait Grow: Default + 'static {
    /// How many of them are alive.
    const ALIVE: usize;
    /// The least length that one ends at, in its own units.
    const LEAST: usize;
    /// How many powers of two from there.
    const MAGNITUDES: u64;

    /// Appends something that depends on the bits.
    fn append(&mut self, bits: u64);

    /// In its own units.
    fn length(&self) -> usize;
}

impl Grow for Vec<u64> {
    const ALIVE: usize = 64;
    const LEAST: usize = 64;
    const MAGNITUDES: u64 = 11;

    #[inline]
    fn append(&mut self, bits: u64) {
        self.extend_from_slice(&[bits; 64]);
    }

    fn length(&self) -> usize {
        self.len()
    }
}

impl Grow for String {
    const ALIVE: usize = 1024;
    const LEAST: usize = 16;
    const MAGNITUDES: u64 = 8;

    #[inline]
    fn append(&mut self, bits: u64) {
        self.push_str(&"so much of this "[..1 + bits as usize % 16]);
    }

    fn length(&self) -> usize {
        self.len()
    }
}

fn prepare<G: Grow>(setup: &Setup<'_>, ops: u64) -> Result<Box<dyn Workload>> {
    let randoms = (0..setup.threads).map(|worker| setup.random(worker)).collect();
    Ok(Box::new(Growth { passes: setup.passes(ops, 1), randoms, of: std::marker::PhantomData::<fn(G)> }))
}

struct Growth<G> {
    passes: Passes,
    /// One for each worker.
    randoms: Vec<fastrand::Rng>,
    of: std::marker::PhantomData<fn(G)>,
}

impl<G: Grow> Workload for Growth<G> {
    fn passes(&self) -> Passes {
        self.passes
    }

    fn workers(&self) -> usize {
        self.randoms.len()
    }

    fn worker(&self, index: usize) -> Box<dyn Worker + '_> {
        let mut random = self.randoms[index].clone();
        let alive = (0..G::ALIVE).map(|_| Growing::<G>::new(random.u64(..))).collect();
        Box::new(Grower { random, alive })
    }
}

/// One of them, and where it ends.
struct Growing<G> {
    value: G,
    end: usize,
}

impl<G: Grow> Growing<G> {
    fn new(bits: u64) -> Self {
        let magnitude = G::LEAST << (((bits >> 48) * G::MAGNITUDES) >> 16);
        Self { value: G::default(), end: magnitude + (bits as usize & (magnitude - 1)) }
    }

    /// Appends, or is dropped and begins anew.
    #[inline]
    fn step(&mut self, bits: u64) {
        if self.value.length() >= self.end {
            *self = Self::new(bits);
        }
        self.value.append(bits);
    }
}

struct Grower<G> {
    random: fastrand::Rng,
    alive: Box<[Growing<G>]>,
}

impl<G: Grow> Worker for Grower<G> {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        for _ in 0..ops {
            let bits = self.random.u64(..);
            // The upper bits decide where a new one ends, the lower ones what is appended.
            self.alive[(bits >> 24) as usize % G::ALIVE].step(bits);
        }
        self.alive.iter().map(|one| one.value.length() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends<G: Grow>() -> (usize, usize) {
        (Growing::<G>::new(0).end, Growing::<G>::new(u64::MAX).end)
    }

    #[test]
    fn ends_reach_their_bounds_and_no_further() {
        assert_eq!(ends::<Vec<u64>>(), (64, (128 << 10) - 1));
        assert_eq!(ends::<String>(), (16, (4 << 10) - 1));
    }

    #[test]
    fn one_that_has_reached_its_end_begins_anew() {
        let mut string = Growing::<String>::new(0);
        (0..100).for_each(|_| string.step(7));
        assert!(string.value.len() < 16 + 8);
    }
}
