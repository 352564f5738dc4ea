//! Judges the program `descriptor_array`.

use std::time::Duration;

use integration::runner::Program;
use integration::with_both_modes;

const PROGRAM: Program = Program {
    name: "descriptor_array",
    path: env!("CARGO_BIN_EXE_descriptor_array"),
    arguments: &[],
    limit: Duration::from_secs(60),
};

with_both_modes! {
    one_function_serves_every_context_while_the_array_is_resized, PROGRAM, |figure| {
        assert!(figure("resizes") >= 18, "{} resizes", figure("resizes"));
        assert!(figure("looks") > 10_000);
        assert!(figure("scribbled") > 10_000);
        let writers = [figure("by_preemptible"), figure("by_readers"), figure("by_atomic")];
        assert!(writers.iter().all(|&retired| retired > 100), "{writers:?}");
        assert!(figure("by_handlers") > 20);
    }
}
