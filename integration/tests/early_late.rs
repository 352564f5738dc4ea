//! Judges the program `early_late`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "early_late",
    path: env!("CARGO_BIN_EXE_early_late"),
    arguments: &[],
    limit: Duration::from_secs(30),
};

with_both_modes! {
    works_before_main_and_after_it, PROGRAM, |figure| {
        assert_eq!((figure("before_main"), figure("in_main"), figure("after_exit")), (1, 1, 1));
        assert_eq!(figure("in_thread_locals"), 17);
        // The main thread's keys are not destroyed by `exit`.
        assert_eq!(figure("in_pthread_keys"), 16 * 4);
        assert_eq!(figure("at_exit"), 16);
    }
}
