//! Judges the program `mixed`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "mixed",
    path: env!("CARGO_BIN_EXE_mixed"),
    arguments: &["10000000"],
    limit: Duration::from_secs(150),
};

with_both_modes! {
    ten_million_mixed_operations_lose_nothing, PROGRAM, |figure| {
        assert!(figure("operations") >= 10_000_000);
        assert!(figure("exchanged") > 100_000);
        assert!(figure("moves") > 3000);
        assert!(figure("trims") > 50);
        assert_eq!(figure("nulls"), 0);
        assert_eq!(figure("lost_objects"), 0);
        // What the program itself still holds.
        assert!(figure("live_bytes") < 64 * 1024, "{} bytes live", figure("live_bytes"));
    }
}
