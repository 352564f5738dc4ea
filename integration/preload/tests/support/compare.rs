//! The same program with the system allocator and with ours: the same output and the same end.

use super::library::{MODES, Mode};
use super::run::{Outcome, run};
use std::process::Command;
use std::time::Duration;

/// What counts of an outcome: how it ended and what it said, in which `stable` leaves out what differs from run to run.
pub(crate) type Stable = fn(&str) -> String;

/// All of it.
pub(crate) fn everything(said: &str) -> String {
    said.to_owned()
}

/// Which allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    /// The C library's.
    System,
    /// Ours.
    Ours(Mode),
}

impl Under {
    /// Runs a program, which `program` makes anew each time.
    pub(crate) fn run(self, program: &dyn Fn() -> Command, limit: Duration) -> Outcome {
        let mut command = program();
        match self {
            Under::System => {
                command.env_remove("GLIBC_TUNABLES").env_remove("LD_PRELOAD");
            }
            Under::Ours(mode) => mode.preload(&mut command),
        }
        run(&mut command, limit)
    }
}

/// Fails where the program says or does something else with our allocator, in either mode.
pub(crate) fn same_outcome(name: &str, program: &dyn Fn() -> Command, stable: Stable, limit: Duration) {
    let system = Under::System.run(program, limit);
    for mode in MODES {
        let ours = Under::Ours(mode).run(program, limit);
        let told = |outcome: &Outcome| (outcome.end(), stable(&outcome.out), stable(&outcome.err));
        let (expected, found) = (told(&system), told(&ours));
        assert!(expected == found, "{name}, {mode:?}: expected {expected:#?}, found {found:#?}");
        println!("{name}, {mode:?}: {} in {:?} ({:?} with the system's)", ours.end(), ours.elapsed, system.elapsed);
    }
}
