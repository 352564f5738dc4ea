//! The cases of alloc and free, on one slot and on two, with and without handlers.
//!
//! ```text
//!   mutant                          breach
//!   PreemptionContinues             two threads commit the same pop
//!   MigrationContinues              the same, with one of them on another CPU
//!   SignalContinues                 the interrupted section commits over what the handler did
//!   RestartLeavesSectionUnarmed     the second preemption goes unnoticed
//!   CountBeforeObject               an abort between the two stores
//!   ConstantCapacity                a push into EMPTY
//!   ReplaceOnPeekedCpu              the old magazine is in hand while its CPU is half-way through a pop
//!   ReplaceWithoutCompare           what came into the slot since the peek is nowhere
//!   TouchBeforeReplace              an object is taken from under a section
//!   ClassifyByPeek                  a magazine that was filled or used up since the peek is in the wrong list
//!   EmptyQueued                     the shared magazine would be written next
//! ```

use super::*;
use crate::case::Case;
use crate::cells::Object;

/// Sections alone: an object above, room below, nothing to exchange.
fn sections() -> Case {
    let cells = Cells::new(&[Some(&[1])], &[], 0, &[&[], &[2]]);
    Case::new("two threads pop and push on one cpu", cells, &[&[&ALLOC, &FREE], &[&FREE, &ALLOC]])
}

fn two_pops(slots: &[Option<&[Object]>]) -> Case {
    let cells = Cells::new(slots, &[], 0, &[&[], &[]]);
    Case::new("two threads pop from one slot", cells, &[&[&ALLOC], &[&ALLOC]])
}

fn empty_and_full() -> Case {
    let cells = Cells::new(&[Some(&[1]), Some(&[2, 3])], &[&[4, 5]], 1, &[&[], &[6]]);
    Case::new("one slot runs empty while another runs full", cells, &[&[&ALLOC, &ALLOC], &[&FREE, &FREE]])
}

fn unused_slot() -> Case {
    let cells = Cells::new(&[Some(&[1]), None], &[&[2, 3]], 1, &[&[], &[4]]);
    Case::new("a slot that holds EMPTY is filled while it is used", cells, &[&[&ALLOC, &FREE], &[&FREE, &ALLOC]])
}

fn handler() -> Case {
    let cells = Cells::new(&[Some(&[1])], &[&[2, 3]], 1, &[&[4]]);
    Case::new("handlers allocate and free between any two steps", cells, &[&[&ALLOC, &FREE, &FREE]])
        .with_signals(3, &[&ALLOC, &FREE])
}

fn handlers_on_two_cpus() -> Case {
    let cells = Cells::new(&[Some(&[1]), None], &[&[2, 3]], 1, &[&[], &[4]]);
    Case::new("a handler allocates beside another thread", cells, &[&[&ALLOC], &[&FREE]]).with_signals(1, &[&ALLOC])
}

fn crowd() -> Case {
    let cells = Cells::new(&[Some(&[1]), None], &[&[2, 3]], 1, &[&[], &[4], &[]]);
    Case::new("three threads share two slots", cells, &[&[&ALLOC, &FREE], &[&FREE], &[&ALLOC]])
}

#[test]
fn sections_restart_as_if_they_had_not_begun() {
    sections().is_clean();
}

#[test]
fn magazines_change_places_with_every_object() {
    empty_and_full().is_clean();
    unused_slot().is_clean();
}

#[test]
fn handlers_see_slots_and_magazines_in_hand_as_they_are() {
    handler().is_clean();
    handlers_on_two_cpus().is_clean();
}

#[test]
#[ignore = "large: for --release"]
fn more_threads_than_slots_lose_nothing() {
    crowd().is_clean();
}

#[test]
fn preemption_without_restart_hands_an_object_out_twice() {
    two_pops(&[Some(&[1, 2])]).breaks(Bug::PreemptionContinues, "in 2 places");
}

#[test]
fn migration_without_restart_hands_an_object_out_twice() {
    two_pops(&[Some(&[1, 2]), None]).breaks(Bug::MigrationContinues, "in 2 places");
}

#[test]
fn signal_without_restart_commits_over_what_the_handler_did() {
    handler().breaks(Bug::SignalContinues, "with objects is queued as empty");
}

#[test]
fn restart_without_storing_rseq_cs_is_not_restarted_again() {
    sections().breaks(Bug::RestartLeavesSectionUnarmed, "is lost");
}

#[test]
fn count_before_object_leaves_a_count_without_its_object() {
    sections().breaks(Bug::CountBeforeObject, "holds no object");
}

#[test]
fn capacity_not_read_from_the_magazine_writes_empty() {
    unused_slot().breaks(Bug::ConstantCapacity, "EMPTY is written");
}

#[test]
fn replace_on_a_cpu_read_outside_races_with_a_commit() {
    unused_slot().breaks(Bug::ReplaceOnPeekedCpu, "without objects is queued as full");
}

#[test]
fn replace_without_compare_loses_a_magazine() {
    unused_slot().breaks(Bug::ReplaceWithoutCompare, "is lost");
}

#[test]
fn old_magazine_touched_before_replace_hands_an_object_out_twice() {
    empty_and_full().breaks(Bug::TouchBeforeReplace, "in 2 places");
}

#[test]
fn classified_by_its_count_when_peeked_a_magazine_goes_to_the_wrong_list() {
    empty_and_full().breaks(Bug::ClassifyByPeek, "without objects is queued as full");
}

#[test]
fn empty_queued_as_an_empty_magazine_is_noticed() {
    unused_slot().breaks(Bug::EmptyQueued, "EMPTY is queued");
}
