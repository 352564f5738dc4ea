use super::*;
use crate::driver::deferral::tests::{FIGURES, of_samples, row};
use crate::driver::report::tests::samples;
use alloc_bench::latency::Percentiles;
use alloc_bench::workloads::Spec;

fn judged(rows: &[Row]) -> Vec<(String, f64, bool)> {
    verdicts(rows, 1).into_iter().map(|verdict| (verdict.what, verdict.value.number(), verdict.is_met)).collect()
}

fn one(workload: &'static Spec, threads: usize) -> Vec<(String, f64, bool)> {
    judged(&[row(workload, threads, FIGURES)])
}

#[test]
fn all_peers_and_our_own_immediate_free_are_the_measure() {
    let at_once = ("time by that of gracealloc immediate".to_owned(), 1.2, true);
    let any = |met| ("time by that of gracealloc defer_destroy".to_owned(), 0.6, met);
    let cpu = |met| ("processor time by that of system defer_destroy".to_owned(), 0.4, met);
    assert_eq!(one(&defer_steady::SPEC, 1), [at_once, any(false), cpu(true)]);
    assert_eq!(one(&defer_steady::SPEC, 2), [any(false), cpu(false)]);
    assert!(one(&defer_steady::SPEC, 3).is_empty());
    let with_drain = ("time with the drain by that of gracealloc defer_destroy".to_owned(), 0.6, false);
    assert_eq!(one(&defer_held::SPEC, 3), [with_drain], "no memory was looked at");
}

#[test]
fn a_section_is_held_against_crossbeams() {
    let pin = ("time by that of gracealloc defer_destroy".to_owned(), 0.6, false);
    assert_eq!(one(&read_section::SPEC, 2), [pin]);
}

#[test]
fn two_threads_are_held_against_one() {
    let rows =
        [row(&defer_steady::SPEC, 1, FIGURES), row(&defer_steady::SPEC, 2, &[("gracealloc", "deferred_free", 18)])];
    assert!(judged(&rows).contains(&("time by that of defer-64 with 1".to_owned(), 1.5, false)));
}

#[test]
fn memory_is_a_difference() {
    let above = ("peak memory less that of gracealloc immediate".to_owned(), 2.0 * MIB, true);
    assert_eq!(one(&kfree_twin::SPEC, 2), [above]);
}

#[test]
fn what_was_not_measured_is_not_judged() {
    let known = [&defer_steady::SPEC, &defer_held::SPEC, &kfree_twin::SPEC, &read_section::SPEC];
    for figures in [&FIGURES[..1], &FIGURES[1..]] {
        assert!(judged(&known.map(|spec| row(spec, 1, figures))).is_empty());
    }
}

/// A row of ours alone, whose median wait is so many nanoseconds.
fn wait(workload: &'static Spec, threads: usize, ns: u64) -> Row {
    let latency = Some(Percentiles { steps: 1, p50_ns: ns, p99_ns: ns, p999_ns: ns, max_ns: ns });
    let sample = Sample { latency, ..samples(9 * ns, 0)[0].clone() };
    of_samples(workload, threads, "deferred_free", sample)
}

#[test]
fn waits_count_by_their_median() {
    let alone = |threads, ns| judged(&[wait(&synchronize::SPEC, threads, ns)]);
    assert_eq!(alone(1, 9_000), [("median wait".to_owned(), 9e3, true)]);
    assert_eq!(alone(2, 51_000), [("median wait".to_owned(), 51e3, false)]);
    let hurry = [wait(&synchronize::SPEC, 2, 40_000), wait(&synchronize::EXPEDITED, 2, 10_000)];
    assert_eq!(judged(&hurry)[1], ("median wait by that of synchronize with 2".to_owned(), 0.25, true));
    let crowd = [wait(&grace_threads::SPEC, 2, 10), wait(&grace_threads::SPEC, 2000, 14)];
    assert_eq!(judged(&crowd), [("median wait by that of grace-threads with 2".to_owned(), 1.4, false)]);
}

#[test]
fn what_waits_and_how_it_comes_back_is_judged_by_itself() {
    let memory = Sample { waiting_bytes: Some(66), left_bytes: Some(33), drain_ns: 10, ..samples(1, 0)[0].clone() };
    let held = of_samples(&defer_held::SPEC, 1, "deferred_free", memory.clone());
    assert_eq!(judged(&[held]), [(WAITING.0.to_owned(), 66.0 / 64.0, true)]);
    let flood = of_samples(&defer_held::FLOOD, 1, "deferred_free", memory);
    assert_eq!(judged(&[flood]), [(DRAIN.0.to_owned(), 10.0, true), (LEFT.0.to_owned(), 0.5, false)]);
}
