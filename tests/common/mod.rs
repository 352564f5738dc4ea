//! What several test programs need.

use std::process::Command;

/// The variable that tells a child process what it is to do.
const TASK: &str = "GRACE_TEST_TASK";

/// This test program again, in a process of its own. Where test programs need an emulator, `TEST_RUNNER` holds its
/// command line.
#[allow(dead_code, reason = "not every test program needs it")]
pub(crate) fn again() -> Command {
    let exe = std::env::current_exe().unwrap();
    let runner = std::env::var("TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(runner) = words.next() else { return Command::new(exe) };
    let mut command = Command::new(runner);
    command.args(words).arg(exe);
    command
}

/// As [`again`], to run the ignored test `child` alone with `task`: a process that may die of it.
#[allow(dead_code, reason = "not every test program needs it")]
pub(crate) fn child(task: &str) -> Command {
    let mut command = again();
    command.args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env(TASK, task);
    command
}

/// What this process is to do, if it is a child.
#[allow(dead_code, reason = "not every test program needs it")]
pub(crate) fn task() -> Option<String> {
    std::env::var(TASK).ok()
}
