//! Judges the program `threads`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program =
    Program { name: "threads", path: env!("CARGO_BIN_EXE_threads"), arguments: &[], limit: Duration::from_secs(120) };

with_both_modes! {
    memory_is_bounded_however_many_threads_there_were, PROGRAM, |figure| {
        assert_eq!(figure("threads"), 20_000);
        assert_eq!(figure("objects"), 20_000 * 16);
        let (first, second) = (figure("first_half_peak_kib"), figure("second_half_peak_kib"));
        assert!(first > 0 && second < 200 * 1024, "{second} KiB resident");
        assert!(second < first + 16 * 1024, "{first} KiB, then {second} KiB resident");
    }
}
