//! Judges the program `fork_pending`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "fork_pending",
    path: env!("CARGO_BIN_EXE_fork_pending"),
    arguments: &[],
    limit: Duration::from_secs(120),
};

with_both_modes! {
    parent_and_child_go_on_with_what_was_pending, PROGRAM, |figure| {
        assert_eq!(figure("with_pending"), 10);
        assert_eq!(figure("beside_reader"), 5);
        assert!(figure("drops") >= 10 * 5);
        // A fork waits for threads that push grace periods on: few children are stalled.
        assert!(figure("stalled_under_flood") <= figure("under_flood") / 30);
        assert_eq!(figure("lost_objects"), 0);
    }
}
