//! A start state with its threads and bounds, and the seeded bugs under which it can be run.
//!
//! Problem: a mutant must differ from what it mutates in one thing only.
//!
//! Invariants:
//! - a case is run clean and mutated from the same start, by the same engine;
//! - a bug is either in the steps (they ask `Cells::bug`) or in the kernel, never in both, never in the ledger.
//!
//! ```text
//!   Case ── is_clean()        no state breaks, or the test shows the trace
//!        └─ breaks(bug, what) a state breaks in that way, or the test fails
//! ```

use crate::cells::Cells;
use crate::engine::{Bounds, Cpu, Kernel, Machine, Program, Routine};
use crate::search::{Report, explore};
use crate::world::World;

/// The seeded mistakes.
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

pub(crate) struct Case {
    name: &'static str,
    cells: Cells,
    programs: Vec<Program<Cells>>,
    /// What a signal runs.
    handler: Program<Cells>,
    bounds: Bounds,
}

impl Case {
    /// A program for each thread. Any number of preemptions and migrations, on as many CPUs as there are slots.
    pub(crate) fn new(name: &'static str, cells: Cells, programs: &[&[&'static Routine<Cells>]]) -> Case {
        Case {
            name,
            cells,
            programs: programs.iter().map(|program| program.to_vec()).collect(),
            handler: Vec::new(),
            bounds: Bounds::NO_SIGNALS,
        }
    }

    pub(crate) fn with_signals(mut self, signals: u8, handler: &[&'static Routine<Cells>]) -> Case {
        (self.bounds.signals, self.handler) = (signals, handler.to_vec());
        self
    }

    pub(crate) fn with_bounds(mut self, bounds: Bounds) -> Case {
        self.bounds = bounds;
        self
    }

    pub(crate) fn is_clean(&self) {
        self.run(Bug::None).assert_clean(self.name);
    }

    pub(crate) fn breaks(&self, bug: Bug, expected: &str) {
        self.run(bug).assert_breach(&format!("{}, {bug:?}", self.name), expected);
    }

    fn run(&self, bug: Bug) -> Report {
        let cpus = self.cells.slots.len() as Cpu;
        let machine = Machine { cpus, handler: self.handler.clone(), kernel: kernel_with(bug) };
        let cells = Cells { bug, ..self.cells.clone() };
        explore(&machine, World::new(cells, &self.programs, cpus, self.bounds))
    }
}

fn kernel_with(bug: Bug) -> Kernel {
    Kernel {
        preemption_restarts: bug != Bug::PreemptionContinues,
        migration_restarts: bug != Bug::MigrationContinues,
        signal_restarts: bug != Bug::SignalContinues,
        restart_arms: bug != Bug::RestartLeavesSectionUnarmed,
    }
}
