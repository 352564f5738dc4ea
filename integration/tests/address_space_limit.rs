//! Judges the program `address_space_limit`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "address_space_limit",
    path: env!("CARGO_BIN_EXE_address_space_limit"),
    arguments: &[],
    limit: Duration::from_secs(120),
};

with_both_modes! {
    null_at_the_limit_and_nothing_lost, PROGRAM, |figure| {
        assert_eq!(figure("layouts"), 11);
        assert!(figure("nulls") > 11);
        assert!(figure("bystander_operations") > 1000);
        assert_eq!(figure("objects_after"), 10_000);
    }
}
