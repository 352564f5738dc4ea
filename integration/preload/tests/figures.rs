//! The figures of docs/preload.md: what programs take with the system's allocator and with ours. For `scripts/preload`, with the
//! release profile.

#![cfg(all(target_os = "linux", feature = "jemalloc"))]

mod support;

use std::process::Command;
use std::time::Duration;
use support::compare::Under;
use support::library::Mode;
use support::programs::{Program, SHORT};
use support::run::Outcome;

const LIMIT: Duration = Duration::from_secs(600);
const WAYS: [Under; 3] = [Under::System, Under::Ours(Mode::Rseq), Under::Ours(Mode::Fallback)];
/// They take turns, so that a neighbour on the machine troubles all alike.
const ROUNDS: usize = 3;
const STARTS: usize = 400;
/// What the library may add to the start of a process.
const MOST_ADDED: Duration = Duration::from_millis(1);

/// The runs of each way.
fn measure(command: &dyn Fn() -> Command, rounds: usize) -> [Vec<Outcome>; 3] {
    let mut all = [const { Vec::new() }; 3];
    for _ in 0..rounds {
        for (way, runs) in WAYS.iter().zip(&mut all) {
            runs.push(way.run(command, LIMIT));
        }
    }
    all
}

/// The time that so many of a hundred runs do not exceed.
fn percentile(runs: &[Outcome], percent: usize) -> Duration {
    let mut times: Vec<_> = runs.iter().map(|run| run.elapsed).collect();
    times.sort_unstable();
    times[times.len() * percent / 100]
}

fn peak(runs: &[Outcome]) -> f64 {
    runs.iter().map(|run| run.peak_bytes).max().unwrap_or(0) as f64 / f64::from(1 << 20)
}

fn row(program: &Program) {
    match program.command() {
        Err(why) => support::skip(&why),
        Ok(command) => {
            let all = measure(&command, ROUNDS);
            let [system, ours, fallback] = all.each_ref().map(|runs| percentile(runs, 50).as_secs_f64());
            let [mib, our_mib, _] = all.each_ref().map(|runs| peak(runs));
            println!(
                "| {} | {system:.2} s | {ours:.2} s | **{:.2}** | {fallback:.2} s | {mib:.1} MiB | {our_mib:.1} MiB |",
                program.name,
                ours / system
            );
        }
    }
}

#[test]
#[ignore = "measures: scripts/preload"]
fn what_programs_take() {
    println!("| program | system | gracealloc | ratio | without rseq | peak, system | peak, gracealloc |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    SHORT.iter().for_each(row);
}

#[test]
#[ignore = "measures: scripts/preload"]
fn what_the_start_of_a_process_takes() {
    let all = measure(&|| Command::new("/bin/true"), STARTS);
    // The fast ones of each: what a neighbour adds is no figure of ours.
    let [system, ours, fallback] = all.each_ref().map(|runs| percentile(runs, 10));
    println!("/bin/true, the tenth percentile of {STARTS} starts:");
    println!("{system:?} with the system's allocator, {ours:?} with ours, {fallback:?} without rseq");
    for found in [ours, fallback] {
        assert!(found.saturating_sub(system) <= MOST_ADDED, "{found:?}");
    }
}
