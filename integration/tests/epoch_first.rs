//! Judges the program `epoch_first`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "epoch_first",
    path: env!("CARGO_BIN_EXE_epoch_first"),
    arguments: &[],
    limit: Duration::from_secs(60),
};

with_both_modes! {
    a_fresh_thread_may_begin_in_crossbeam_or_without_memory, PROGRAM, |figure| {
        assert_eq!(figure("closures"), 2 * 512 * 200);
        assert_eq!(figure("nulls"), 2 * 8);
    }
}
