//! Misuse ends the process with one line; a bad setting is one warning and the default.
//!
//! Each case runs in a process of its own. (That the environment is ignored in set-uid programs cannot be tested
//! without installing one.)

#![cfg(all(unix, not(miri)))]

mod common;

use gracealloc::GraceAlloc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::os::unix::process::ExitStatusExt;
use std::process::Output;

const SMALL: Layout = Layout::new::<[u64; 8]>();
const LARGE: Layout = Layout::new::<[u64; 12_500]>();

fn alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the layouts here have a size.
    let ptr = unsafe { GraceAlloc.alloc(layout) };
    assert!(!ptr.is_null());
    ptr
}

/// Frees, with whatever the case wants to get wrong.
fn free(ptr: *mut u8, layout: Layout) {
    // SAFETY: not sound, which is the point: the allocator must notice. Nothing else in this process uses it.
    unsafe { GraceAlloc.dealloc(ptr, layout) }
}

fn defer(ptr: *mut u8, layout: Layout) {
    // SAFETY: as in `free`.
    unsafe { gracealloc::deferred_free(ptr, layout) }
}

fn foreign(layout: Layout) -> *mut u8 {
    // SAFETY: the layouts here have a size.
    unsafe { System.alloc(layout) }
}

fn misuse(case: &str) {
    match case {
        "large freed twice" => {
            let ptr = alloc(LARGE);
            (0..2).for_each(|_| free(ptr, LARGE));
        }
        "large of another size" => free(alloc(LARGE), Layout::new::<[u64; 25_000]>()),
        "large from elsewhere" => free(foreign(LARGE), LARGE),
        "large moved from elsewhere" => {
            // SAFETY: as in `free`.
            unsafe { GraceAlloc.realloc(foreign(LARGE), LARGE, 200_000) };
        }
        "small freed twice" => {
            let ptr = alloc(SMALL);
            (0..2).for_each(|_| free(ptr, SMALL));
        }
        "small of another size" => free(alloc(SMALL), Layout::new::<[u64; 16]>()),
        "small from elsewhere" => {
            alloc(SMALL); // or there would be nowhere to put it
            free(foreign(SMALL), SMALL)
        }
        "small from its middle" => free(alloc(SMALL).wrapping_add(8), SMALL),
        "marked twice" => mark_twice(),
        "large deferred twice" => {
            let ptr = alloc(LARGE);
            let _guard = crossbeam_epoch::pin();
            (0..2).for_each(|_| defer(ptr, LARGE));
        }
        "large deferred and freed" => {
            let ptr = alloc(LARGE);
            let _guard = crossbeam_epoch::pin();
            defer(ptr, LARGE);
            free(ptr, LARGE);
        }
        "small deferred twice" => {
            let ptr = alloc(SMALL);
            (0..2).for_each(|_| defer(ptr, SMALL));
            gracealloc::barrier();
        }
        "small deferred as another size" => {
            defer(alloc(SMALL), Layout::new::<[u64; 16]>());
            gracealloc::barrier();
        }
        _ => report(),
    }
    gracealloc::trim();
}

/// In atomic context, with no magazine in reserve, frees end as marks once the slots are full.
fn mark_twice() {
    let objects: Vec<_> = (0..4096).map(|_| alloc(SMALL)).collect();
    let _section = gracealloc::atomic_section();
    objects.iter().for_each(|&ptr| free(ptr, SMALL));
    assert!(gracealloc::stats().free_marks > 0);
    free(objects[4095], SMALL);
}

fn report() {
    free(alloc(SMALL), SMALL);
    let stats = gracealloc::stats();
    // On a line of its own: the test harness has begun one.
    println!("\nrseq {} reserve {}", stats.rseq, stats.reserve_bytes);
}

#[test]
#[ignore = "the other tests run it in a process of its own"]
fn child() {
    misuse(&common::task().expect("a case"));
}

fn run(case: &str, variables: &[(&str, &str)]) -> Output {
    common::child(case).envs(variables.iter().copied()).output().unwrap()
}

/// Standard error without what an emulator adds.
fn errors(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    text.split_inclusive('\n').filter(|line| !line.starts_with("qemu: ")).collect()
}

/// The case dies of SIGABRT after exactly the line `gracealloc: <what>: <some address> <layout>`.
fn dies_with(case: &str, what: &str, layout: &str) {
    let output = run(case, &[("GRACEALLOC_RESERVE_MAGAZINES", "0")]);
    let line = errors(&output);
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{case}: {} {line}", output.status);
    let address = line
        .strip_prefix(&format!("gracealloc: {what}: 0x"))
        .and_then(|rest| rest.strip_suffix(&format!(" {layout}\n")))
        .unwrap_or_else(|| panic!("{case}: {line}"));
    assert!(u64::from_str_radix(address, 16).is_ok(), "{case}: {line}");
}

#[test]
fn a_second_free_of_a_large_object_is_caught_at_once() {
    dies_with("large freed twice", "free of a pointer that is not an object", "size 100000 align 8");
}

#[test]
fn a_large_object_freed_with_another_size_is_caught_at_once() {
    dies_with("large of another size", "free with the wrong size", "size 200000 align 8");
}

#[test]
fn a_large_object_of_another_allocator_is_caught_at_once() {
    dies_with("large from elsewhere", "free of a pointer that is not an object", "size 100000 align 8");
    dies_with("large moved from elsewhere", "free of a pointer that is not an object", "size 100000 align 8");
}

#[test]
fn a_second_free_of_a_small_object_is_caught_when_it_reaches_its_span() {
    dies_with("small freed twice", "double free", "size 64 align 1");
}

#[test]
fn a_small_object_freed_with_another_size_is_caught_when_it_reaches_its_span() {
    dies_with("small of another size", "free with the wrong size", "size 128 align 1");
}

#[test]
fn a_small_object_of_another_allocator_is_caught_when_it_reaches_a_span() {
    dies_with("small from elsewhere", "free of a pointer that is not an object", "size 64 align 1");
}

#[test]
fn a_pointer_into_an_object_is_caught_when_it_reaches_a_span() {
    dies_with("small from its middle", "free of a pointer that is not an object", "size 64 align 1");
}

#[test]
fn a_deferred_object_that_is_given_back_again_is_caught() {
    dies_with("large deferred twice", "double free", "size 100000 align 8");
    dies_with("large deferred and freed", "double free", "size 100000 align 8");
    dies_with("small deferred twice", "double free", "size 64 align 1");
    dies_with("small deferred as another size", "free with the wrong size", "size 128 align 1");
}

#[test]
fn a_second_mark_is_caught_at_once() {
    dies_with("marked twice", "double free", "size 64 align 1");
}

/// Runs with one variable; returns what the child says of itself, and its standard error.
fn with_variable(name: &str, value: &str) -> (String, String) {
    let output = run("report", &[(name, value)]);
    assert!(output.status.success(), "{name}={value}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with("rseq ")).expect("a report");
    (line.to_owned(), errors(&output))
}

#[test]
fn a_bad_setting_is_one_warning_and_the_default() {
    let default = with_variable("GRACEALLOC", "not one of ours");
    assert_eq!(default.1, "");
    for (name, value, why) in [
        ("GRACEALLOC_DECAY_MS", "abc", "not a number"),
        ("GRACEALLOC_DECAY_MS", "0", "out of range"),
        ("GRACEALLOC_RESERVE_BYTES", "99999999999", "out of range"),
        ("GRACEALLOC_RESERVE_BYTES", "-1", "not a number"),
        ("GRACEALLOC_RSEQ", "2", "out of range"),
        ("GRACEALLOC_COLOUR", "red", "no such option"),
    ] {
        let warning = format!("gracealloc: warning: {name}={value} ignored: {why}\n");
        assert_eq!(with_variable(name, value), (default.0.clone(), warning));
    }
}

#[test]
fn a_good_setting_is_silent_and_works() {
    let (report, errors) = with_variable("GRACEALLOC_RESERVE_BYTES", "65536");
    assert_eq!((report.ends_with("reserve 65536"), errors.as_str()), (true, ""), "{report}");
    let (report, errors) = with_variable("GRACEALLOC_RSEQ", "0");
    assert_eq!((report.starts_with("rseq false"), errors.as_str()), (true, ""), "{report}");
}
