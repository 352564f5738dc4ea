//! Programs that nobody here wrote do the same under this allocator as under the system's, with restartable sequences and
//! without.
//!
//! The long form, and the figures of docs/preload.md, are for `scripts/preload`.

#![cfg(all(target_os = "linux", feature = "jemalloc"))]

mod support;

use std::time::Duration;
use support::compare::{everything, same_outcome};
use support::programs::{LONG, Program, SHORT};

/// For one of the short ones, on a machine that does much else.
const LIMIT: Duration = Duration::from_secs(120);
const LONG_LIMIT: Duration = Duration::from_secs(1800);

fn check(program: &Program, limit: Duration) {
    match program.command() {
        Ok(command) => same_outcome(program.name, &command, everything, limit),
        Err(why) => support::skip(&why),
    }
}

fn check_short(name: &str) {
    let mut chosen = SHORT.iter().filter(|program| program.name.starts_with(name)).peekable();
    assert!(chosen.peek().is_some(), "no such program");
    chosen.for_each(|program| check(program, LIMIT));
}

#[test]
fn python_runs_parts_of_its_own_tests() {
    check_short("python");
}

#[test]
fn perl_works() {
    check_short("perl");
}

#[test]
fn sqlite_fills_updates_and_checks_a_base() {
    check_short("sqlite3");
}

#[test]
fn node_works_with_threads_and_buffers() {
    check_short("node");
}

#[test]
fn git_reads_packs_and_checks_a_history() {
    check_short("git");
}

#[test]
fn redis_serves_and_saves_in_the_background() {
    check_short("redis");
}

#[test]
#[ignore = "takes many minutes: scripts/preload"]
fn the_long_form() {
    LONG.iter().for_each(|program| check(program, LONG_LIMIT));
}
