//! First touch: a process that allocates little and ends, as most do. What is measured is the whole of it, by who starts
//! it, from the start until it has ended: what an allocator maps, reads and registers before it serves anybody is paid
//! here, and so is what it undoes at the end.

use std::alloc::Layout;

use super::{Measures, Passes, Retires, Spec, Worker, Workload};
use crate::heap;
use crate::latency::Latencies;

/// One operation is one process; it has one thread.
pub const SPEC: Spec = Spec {
    name: "first-touch",
    about: "a whole process: started, 256 objects of 16 to 1024 B allocated and freed, ended",
    by_default: false,
    measures: Measures::Process,
    needs_corpus: false,
    needs_c: false,
    retires: Retires::Nothing,
    prepare: |setup| Ok(Box::new(FirstTouch { seed: setup.seed })),
};

/// Processes of one measurement, at scale 1.
const PROCESSES: f64 = 40.0;
/// Objects of one process.
const OBJECTS: u64 = 256;

/// How many processes one measurement starts.
pub fn processes(scale: f64) -> u64 {
    ((PROCESSES * scale) as u64).max(1)
}

struct FirstTouch {
    seed: u64,
}

impl Workload for FirstTouch {
    fn passes(&self) -> Passes {
        Passes { warm_up: 0, timed: OBJECTS }
    }

    fn workers(&self) -> usize {
        1
    }

    fn worker(&self, _index: usize) -> Box<dyn Worker + '_> {
        Box::new(Program { seed: self.seed })
    }
}

struct Program {
    seed: u64,
}

impl Worker for Program {
    fn run(&mut self, ops: u64, _latencies: &mut Latencies) -> u64 {
        // SAFETY: the layout is one of `heap::layout`.
        let objects: Vec<_> = (0..ops).map(|word| unsafe { heap::obtain(layout(word), word) }).collect();
        for (word, object) in (0..).zip(objects) {
            // SAFETY: allocated with this layout just now, and freed once.
            unsafe { heap::give_back(object, layout(word)) };
        }
        self.seed.wrapping_add(ops)
    }
}

/// Of the object that holds this word: all sizes from 16 B to 1 KiB in turn.
fn layout(word: u64) -> Layout {
    heap::layout(16 * (1 + word as usize % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_reach_their_bounds_and_no_further() {
        let sizes = || (0..OBJECTS).map(|word| layout(word).size());
        assert_eq!((sizes().min(), sizes().max()), (Some(16), Some(1024)));
    }

    #[test]
    fn there_is_always_a_process() {
        assert_eq!((processes(1e-6), processes(1.0), processes(2.0)), (1, 40, 80));
    }
}
