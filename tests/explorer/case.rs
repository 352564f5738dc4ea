//! A start state with its threads and bounds, and the seeded bugs under which it can be run.
//!
//! Problem: a mutant must differ from what it mutates in one thing only.
//!
//! Invariants:
//! - a case is run clean and mutated from the same start, by the same engine;
//! - a bug is either in the steps (they ask the memory for it) or in the kernel, never in both, never in the ledger.
//!
//! ```text
//!   Case ── is_clean()        no state breaks, or the test shows the trace
//!        └─ breaks(bug, what) a state breaks in that way, or the test fails
//! ```

use crate::cells::Cells;
use crate::engine::{Bounds, Cpu, Kernel, Machine, Model, Program, Routine};
use crate::search::{Report, explore};
use crate::world::World;
use std::fmt::Debug;

/// A model that can be run with a seeded bug.
pub(crate) trait Subject: Model {
    type Bug: Copy + Debug;

    fn cpus(&self) -> Cpu;

    /// The same memory, with steps that make this mistake.
    fn with_bug(&self, bug: Self::Bug) -> Self;

    /// The kernel that this mistake belongs to, if it is the kernel's.
    fn kernel(_bug: Self::Bug) -> Kernel {
        Kernel::AS_PROMISED
    }
}

/// The seeded mistakes of the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    None,
    PreemptionContinues,
    MigrationContinues,
    SignalContinues,
    RestartLeavesSectionUnarmed,
    CountBeforeObject,
    ConstantCapacity,
    ReplaceOnPeekedCpu,
    ReplaceWithoutCompare,
    ReplaceComparesThenStores,
    TouchBeforeReplace,
    ClassifyByPeek,
    EmptyQueued,
    RemoteWithoutMembarrier,
    RemoteReadsBeforeMembarrier,
    RemoteLoadsThenStores,
}

impl Subject for Cells {
    type Bug = Bug;

    fn cpus(&self) -> Cpu {
        self.slots.len() as Cpu
    }

    fn with_bug(&self, bug: Bug) -> Self {
        Cells { bug, ..self.clone() }
    }

    fn kernel(bug: Bug) -> Kernel {
        Kernel {
            preemption_restarts: bug != Bug::PreemptionContinues,
            migration_restarts: bug != Bug::MigrationContinues,
            signal_restarts: bug != Bug::SignalContinues,
            restart_arms: bug != Bug::RestartLeavesSectionUnarmed,
        }
    }
}

pub(crate) struct Case<M: Subject = Cells> {
    name: &'static str,
    memory: M,
    programs: Vec<Program<M>>,
    /// Threads without sections: see `world.rs`.
    bystanders: Vec<Program<M>>,
    /// What a signal runs.
    handler: Program<M>,
    bounds: Bounds,
}

impl<M: Subject> Case<M> {
    /// A program for each thread. Any number of preemptions and migrations, on as many CPUs as there are slots.
    pub(crate) fn new(name: &'static str, memory: M, programs: &[&[&'static Routine<M>]]) -> Self {
        Case {
            name,
            memory,
            programs: owned(programs),
            bystanders: Vec::new(),
            handler: Vec::new(),
            bounds: Bounds::NO_SIGNALS,
        }
    }

    pub(crate) fn with_bystanders(mut self, programs: &[&[&'static Routine<M>]]) -> Self {
        self.bystanders = owned(programs);
        self
    }

    pub(crate) fn with_signals(mut self, signals: u8, handler: &[&'static Routine<M>]) -> Self {
        (self.bounds.signals, self.handler) = (signals, handler.to_vec());
        self
    }

    /// The same with another start.
    pub(crate) fn with_memory(mut self, change: impl FnOnce(&mut M)) -> Self {
        change(&mut self.memory);
        self
    }

    pub(crate) fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    pub(crate) fn is_clean(&self) {
        self.run(self.memory.clone(), Kernel::AS_PROMISED).assert_clean(self.name);
    }

    pub(crate) fn breaks(&self, bug: M::Bug, expected: &str) {
        let report = self.run(self.memory.with_bug(bug), M::kernel(bug));
        report.assert_breach(&format!("{}, {bug:?}", self.name), expected);
    }

    fn run(&self, memory: M, kernel: Kernel) -> Report {
        let cpus = memory.cpus();
        let machine = Machine { cpus, handler: self.handler.clone(), kernel };
        let world = World::new(memory, &self.programs, cpus, self.bounds);
        explore(&machine, world.with_bystanders(&self.bystanders, cpus))
    }
}

fn owned<M: Model>(programs: &[&[&'static Routine<M>]]) -> Vec<Program<M>> {
    programs.iter().map(|program| program.to_vec()).collect()
}
