//! What the C library's manual says of malloc and its kin holds with ours.

#![cfg(all(target_os = "linux", feature = "jemalloc"))]

mod support;

use std::process::Command;
use std::time::Duration;
use support::compare::{Under, everything, same_outcome};
use support::library::MODES;
use support::{compile, library};

const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn sizes_alignments_errno_and_overflow_are_as_the_manual_says() {
    let program = compile::c(&compile::scratch("manual"), "semantics", "tests/c/semantics.c", &[]);
    assert_eq!(Under::System.run(&|| Command::new(&program), LIMIT).out, "as the manual says\n");
    same_outcome("semantics", &|| Command::new(&program), everything, LIMIT);
}

#[test]
fn every_form_of_new_and_delete_works_and_a_replaced_one_is_respected() {
    let folder = compile::scratch("forms");
    for (name, flags) in [("forms", &[][..]), ("replaced", &["-DREPLACED", "-Wno-sized-deallocation"][..])] {
        let Some(program) = compile::cxx(&folder, name, "tests/c/forms.cc", flags) else {
            return support::skip("C++: there is no compiler");
        };
        assert_eq!(Under::System.run(&|| Command::new(&program), LIMIT).out, "all forms\n");
        same_outcome(name, &|| Command::new(&program), everything, LIMIT);
    }
}

#[test]
fn a_large_block_that_grows_is_moved_and_not_copied() {
    let program = compile::c(&compile::scratch("moved"), "moved", "tests/c/moved.c", &[]);
    for mode in MODES {
        let outcome = Under::Ours(mode).run(&|| Command::new(&program), LIMIT);
        assert_eq!((outcome.end(), outcome.out), ("exit 0".into(), "moved\n".into()), "{}", outcome.err);
    }
}

/// What C programs find by name, and nothing else: not jemalloc's functions, nor Rust's.
#[test]
fn the_library_exports_what_it_promises() {
    // Null where the C library has it: what is to be found must come from our object.
    let names = "malloc free calloc realloc reallocarray memalign aligned_alloc posix_memalign valloc pvalloc \
                 malloc_usable_size free_sized free_aligned_sized cfree malloc_trim _ZdlPvm _ZdaPvm _ZdlPvSt11align_val_t \
                 _ZdaPvSt11align_val_t _ZdlPvmSt11align_val_t _ZdaPvmSt11align_val_t gracealloc_deferred_free \
                 gracealloc_synchronize gracealloc_barrier gracealloc_atomic_enter gracealloc_atomic_leave \
                 gracealloc_read_enter gracealloc_read_leave gracealloc_stats_print";
    let mut expected: Vec<_> = names.split_whitespace().collect();
    expected.sort_unstable();
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library::path()).output();
    let Ok(output) = output else { return support::skip("exports: there is no nm") };
    let text = String::from_utf8(output.stdout).expect("names");
    let mut found: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().nth(2)).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
}
