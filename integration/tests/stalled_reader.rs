//! Judges the program `stalled_reader`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "stalled_reader",
    path: env!("CARGO_BIN_EXE_stalled_reader"),
    arguments: &[],
    limit: Duration::from_secs(120),
};

with_both_modes! {
    what_is_pending_stays_within_its_bound, PROGRAM, |figure| {
        // More than the bound would have been deferred without it, and the flood went on when the budget was spent.
        assert!(figure("pending_bytes") <= figure("bound_bytes"));
        assert!(figure("inline_waits") >= 10, "{} waits", figure("inline_waits"));
        // Some of what a reader and an atomic caller deferred found room in open pages.
        assert!(figure("marked_apart") >= 5000, "{} marks", figure("marked_apart"));
        assert!(figure("marks") >= figure("marked_apart"));
        assert!(figure("stall_reports") >= 1);
    }
}
