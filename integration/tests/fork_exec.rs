//! Judges the program `fork_exec`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "fork_exec",
    path: env!("CARGO_BIN_EXE_fork_exec"),
    arguments: &[],
    limit: Duration::from_secs(60),
};

with_both_modes! {
    children_allocate_before_and_after_exec, PROGRAM, |figure| {
        assert_eq!(figure("children"), 200);
        assert!(figure("operations") > 10_000);
    }
}
