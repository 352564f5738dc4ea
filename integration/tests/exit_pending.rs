//! Judges the program `exit_pending`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "exit_pending",
    path: env!("CARGO_BIN_EXE_exit_pending"),
    arguments: &[],
    limit: Duration::from_secs(100),
};

with_both_modes! {
    ends_at_once_with_its_own_exit_code, PROGRAM, |figure| {
        assert_eq!(figure("cases"), 6);
        assert!(figure("slowest_us") < 5_000_000, "{} us", figure("slowest_us"));
    }
}
