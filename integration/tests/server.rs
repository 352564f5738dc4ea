//! Judges the program `server`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program =
    Program { name: "server", path: env!("CARGO_BIN_EXE_server"), arguments: &[], limit: Duration::from_secs(60) };

with_both_modes! {
    answers_every_request_with_what_was_stored, PROGRAM, |figure| {
        assert_eq!(figure("requests"), 16 * 3200);
        assert!(figure("found") > 10_000);
        assert!(figure("bytes") > 1_000_000);
    }
}
