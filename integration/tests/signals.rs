//! Judges the program `signals`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program =
    Program { name: "signals", path: env!("CARGO_BIN_EXE_signals"), arguments: &[], limit: Duration::from_secs(120) };

with_both_modes! {
    handlers_allocate_and_free_whatever_they_interrupt, PROGRAM, |figure| {
        assert!(figure("signals") >= 4 * 2000);
        assert!(figure("operations") > 50_000);
        assert!(figure("left") > 1000);
        assert_eq!(figure("nulls"), 0);
    }
}
