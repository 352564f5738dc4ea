//! What several test programs need.

use std::process::Command;

/// The variable that tells a child process what it is to do.
const TASK: &str = "GRACE_TEST_TASK";

/// This test program again, to run the ignored test `child` alone with `task`, in a process that may die of it.
///
/// Where test programs need an emulator, `TEST_RUNNER` holds its command line.
pub(crate) fn child(task: &str) -> Command {
    let exe = std::env::current_exe().unwrap();
    let runner = std::env::var("TEST_RUNNER").unwrap_or_default();
    let mut words = runner.split_whitespace();
    let mut command = match words.next() {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.args(words).arg(exe);
            command
        }
        None => Command::new(exe),
    };
    command.args(["child", "--exact", "--ignored", "--nocapture", "--test-threads=1"]).env(TASK, task);
    command
}

/// What this process is to do, if it is a child.
pub(crate) fn task() -> Option<String> {
    std::env::var(TASK).ok()
}
