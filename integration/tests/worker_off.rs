//! Judges the program `worker_off`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "worker_off",
    path: env!("CARGO_BIN_EXE_worker_off"),
    arguments: &[],
    limit: Duration::from_secs(120),
};

with_both_modes! {
    callers_do_the_work_of_the_worker, PROGRAM, |figure| {
        assert_eq!(figure("threads"), 1);
        assert!(figure("grace_periods") > 10);
        assert!(figure("peak_bytes") > 100_000, "{} bytes", figure("peak_bytes"));
        assert_eq!(figure("marks"), 0);
        assert_eq!(figure("drops"), 2 * 5 * 100);
        let accepted = figure("accepted");
        assert!((1..1 << 17).contains(&accepted), "{accepted} destructors handed over: never full");
    }
}
