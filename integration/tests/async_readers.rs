//! Judges the program `async_readers`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "async_readers",
    path: env!("CARGO_BIN_EXE_async_readers"),
    arguments: &[],
    limit: Duration::from_secs(60),
};

with_both_modes! {
    owned_guards_protect_across_await_and_migration, PROGRAM, |figure| {
        assert_eq!(figure("reads"), 64 * 300);
        assert!(figure("migrated") > 100, "guards that were dropped on another thread than they were opened on");
        assert!(figure("replaced") > 1000);
        assert_eq!(figure("alive"), 8, "what was replaced has been dropped");
        assert_eq!(figure("pending"), 0);
    }
}
