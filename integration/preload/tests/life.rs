//! A process from before its constructors until after its destructors, in both modes; and what ends it early.

#![cfg(all(target_os = "linux", feature = "jemalloc"))]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use support::compare::{Under, everything, same_outcome};
use support::compile;
use support::library::{MODES, Mode};
use support::run::run;

const LIMIT: Duration = Duration::from_secs(120);
/// More than there is room for in a thread's first table of libraries with thread-local storage.
const LIBRARIES: usize = 40;

#[test]
fn threads_forks_vforks_and_libraries_with_thread_local_storage_work() {
    let folder = compile::scratch("life");
    let program = compile::c(&folder, "lifecycle", "tests/c/lifecycle.c", &["-ldl"]);
    let libraries = copies(&folder, LIBRARIES);
    let command = || {
        let mut command = Command::new(&program);
        command.args(&libraries);
        command
    };
    assert_eq!(Under::System.run(&command, LIMIT).out, "a whole life\n");
    same_outcome("lifecycle", &command, everything, LIMIT);
}

/// The loader knows a library by its file.
fn copies(folder: &Path, count: usize) -> Vec<PathBuf> {
    let library = compile::c(folder, "library.so", "tests/c/thread_local.c", &["-shared", "-fPIC"]);
    let copy = |n| {
        let copy = folder.join(format!("library-{n}.so"));
        std::fs::copy(&library, &copy).expect("a file can be copied");
        copy
    };
    (0..count).map(copy).collect()
}

#[test]
fn what_is_deferred_comes_back() {
    let program = compile::c_with_library(&compile::scratch("deferral"), "deferral", "tests/c/deferral.c");
    for mode in MODES {
        let mut command = Command::new(&program);
        mode.choose(&mut command);
        let outcome = run(&mut command, LIMIT);
        assert!(outcome.status.success(), "{mode:?}: {}", outcome.err);
        assert!(outcome.err.contains("deferred: 0 objects, 0 B"), "{mode:?}: {}", outcome.err);
        assert!(outcome.err.contains("marked 0 objects"), "{mode:?}: {}", outcome.err);
    }
}

#[test]
fn the_example_is_a_program() {
    let program = compile::c_with_library(&compile::scratch("example"), "settings", "examples/settings.c");
    for mode in MODES {
        let mut command = Command::new(&program);
        mode.choose(&mut command);
        let outcome = run(&mut command, LIMIT);
        assert_eq!((outcome.end(), outcome.out), ("exit 0".into(), "settings 100000, 0 torn\n".into()), "{mode:?}");
        assert!(outcome.err.contains("deferred: 0 objects, 0 B"), "{mode:?}: {}", outcome.err);
    }
}

#[test]
fn options_reach_the_library_and_the_mode_is_the_one_that_was_chosen() {
    let program = compile::c_with_library(&compile::scratch("options"), "settings", "examples/settings.c");
    let said = |variable: &str, value: &str| {
        let mut command = Command::new(&program);
        Mode::Rseq.choose(&mut command);
        run(command.env(variable, value), LIMIT).err
    };
    assert!(said("GRACEALLOC_RSEQ", "0").contains("try-locks"), "{}", said("GRACEALLOC_RSEQ", "0"));
    assert!(said("GRACEALLOC_BUDGET_BYTES", "7000000").contains("of 7000000"));
}

#[test]
fn misuse_ends_the_process_with_one_line() {
    let program = compile::c_with_library(&compile::scratch("misuse"), "misuse", "tests/c/misuse.c");
    for (case, line) in [
        ("free elsewhere", "free of a pointer that is not an object: "),
        ("free inside", "free of a pointer that is not an object: "),
        ("free inside large", "free of a pointer that is not an object: "),
        ("free large twice", "double free: "),
        ("realloc elsewhere", "realloc of a pointer that is not an object: "),
        ("size elsewhere", "malloc_usable_size of a pointer that is not an object: "),
        ("defer elsewhere", "deferred free of a pointer that is not an object: "),
        ("leave", "gracealloc_atomic_leave without an open section"),
        ("synchronize in a section", "gracealloc_synchronize by a reader or in an atomic section"),
        ("barrier in a section", "gracealloc_barrier by a reader or in an atomic section"),
    ] {
        for mode in MODES {
            let mut command = Command::new(&program);
            mode.choose(&mut command);
            let outcome = run(command.arg(case), LIMIT);
            // The program says which address it will misuse.
            let expected = format!("gracealloc: {line}{}\n", outcome.out.trim_end());
            assert_eq!(
                (outcome.end(), outcome.err),
                (format!("signal {}", libc::SIGABRT), expected),
                "{case}, {mode:?}"
            );
        }
    }
}
