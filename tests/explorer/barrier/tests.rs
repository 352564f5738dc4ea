//! The cases of `barrier`: against seals, drains, pollers, marks, and other barriers.
//!
//! ```text
//!   mutant                      what the barrier leaves behind
//!   BarrierWithoutMarks         marked objects
//!   BarrierWithoutDrain         what stands in a slot
//!   BarrierWithoutWait          the page of a thread that has taken it and not queued it
//!   RaiseAfterReplace           the same: in hand before it is counted
//!   DrainRaisesAfterSwap        the same, of a drain
//!   LowerBeforeQueue            the same: not counted any more, not queued yet
//!   MarksNotLocked              the same, of marks
//!   MarksFoundByTheList         marks of a segment that somebody else is about to list
//!   FlipBeforeDrain             a page taken under the new index from a slot that is not drained yet
//!   RaiseWithoutRecheck         a thread raises under an index that two barriers ago was current: the second leaves it
//!   BarriersNotSerialised       the other one's flip: this one waits for the side that nobody is on
//!   CookieBeforeWait            a page queued during the wait, under a younger cookie
//!   BarrierSkipsLockedQueues    what a poller has not come to yet
//!   UnripePushedBack            an old page behind a younger one
//!   PollComparesGreater         everything whose cookie has just elapsed
//!   LowerUnderCurrentIndex      nothing: it waits for ever
//!   LowerOnThisCpu              the same, after a move: one count is above zero for ever, another below
//! ```

use super::*;
use crate::case::Case;
use crate::defer::{DEFER, DEFER_BY_MARK};
use crate::drain::APPLY_MARKS;
use crate::grace::DRIVE;
use crate::poll::POLL;

type Programs<'a> = &'a [&'a [&'static Routine<Deferral>]];

/// One thread that seals, on one CPU, and others beside it.
fn one_seal(name: &'static str, others: Programs) -> Case<Deferral> {
    let memory = Deferral::new(&[Some(&[1, 2])], 3, &[&[3]]).counted();
    Case::new(name, memory, &[&[&DEFER]]).with_bystanders(others)
}

fn seal() -> Case<Deferral> {
    one_seal("a barrier comes while a page is sealed", &[&[&BARRIER], &[&DRIVE, &DRIVE]])
}

fn seal_and_drain() -> Case<Deferral> {
    one_seal("a barrier comes while slots are drained", &[&[&BARRIER], &[&DRAIN]])
}

fn seal_and_poll() -> Case<Deferral> {
    one_seal("a barrier comes while queues are polled", &[&[&BARRIER], &[&POLL, &POLL]])
}

fn seal_and_two_barriers() -> Case<Deferral> {
    one_seal("two barriers, one after the other, while a page is sealed", &[&[&BARRIER, &BARRIER]])
}

fn seal_and_barriers_at_once() -> Case<Deferral> {
    one_seal("two barriers at once while a page is sealed", &[&[&BARRIER], &[&BARRIER]])
}

/// What one thread has pushed since the first barrier, the other takes out before the second.
fn two_seals_and_two_barriers() -> Case<Deferral> {
    let memory = Deferral::new(&[None], 2, &[&[1], &[2]]).counted();
    Case::new("two barriers while two threads seal", memory, &[&[&DEFER], &[&DEFER]])
        .with_bystanders(&[&[&BARRIER, &BARRIER]])
}

/// A page that is not ripe is looked at while a younger one is queued.
fn old_and_young() -> Case<Deferral> {
    let memory = Deferral::new(&[Some(&[1])], 1, &[&[2]]).counted();
    Case::new("a barrier comes before a younger page is queued", memory, &[&[&DEFER]]).with_bystanders(&[
        &[&BARRIER],
        &[&DRAIN],
        &[&POLL],
    ])
}

fn one_is_moved() -> Case<Deferral> {
    let memory = Deferral::new(&[Some(&[1, 2]), Some(&[3, 4])], 2, &[&[5]]).counted().in_a_grace_period();
    Case::new("a barrier comes while a thread that seals is moved", memory, &[&[&DEFER]])
        .with_bystanders(&[&[&BARRIER]])
}

fn two_are_moved() -> Case<Deferral> {
    let memory = Deferral::new(&[Some(&[1, 2]), Some(&[3])], 3, &[&[4], &[5]]).counted().in_a_grace_period();
    Case::new("a barrier comes while threads that seal are moved", memory, &[&[&DEFER], &[&DEFER]])
        .with_bystanders(&[&[&BARRIER]])
}

fn marks() -> Case<Deferral> {
    let memory = Deferral::new(&[None], 2, &[&[1], &[2]]).counted();
    Case::new("a barrier comes while marks are set and applied", memory, &[&[&DEFER_BY_MARK], &[&DEFER_BY_MARK]])
        .with_bystanders(&[&[&BARRIER], &[&APPLY_MARKS]])
}

const LEFT: &str = "barrier returned before";

#[test]
fn barrier_waits_for_pages_in_hand() {
    seal().is_clean();
    seal_and_drain().is_clean();
    one_is_moved().is_clean();
}

#[test]
fn barrier_waits_for_who_polls() {
    seal_and_poll().is_clean();
    old_and_young().is_clean();
}

#[test]
fn barrier_waits_for_who_applies_marks() {
    marks().is_clean();
}

#[test]
fn barriers_one_after_the_other_miss_nothing() {
    seal_and_two_barriers().is_clean();
    two_seals_and_two_barriers().is_clean();
}

#[test]
fn barriers_at_once_miss_nothing() {
    seal_and_barriers_at_once().is_clean();
}

#[test]
#[ignore = "large: for --release"]
fn barrier_waits_for_threads_that_are_moved() {
    two_are_moved().is_clean();
}

#[test]
fn barrier_without_marks_leaves_them() {
    marks().breaks(Bug::BarrierWithoutMarks, LEFT);
}

#[test]
fn barrier_without_drain_leaves_what_is_in_slots() {
    seal().breaks(Bug::BarrierWithoutDrain, LEFT);
}

#[test]
fn barrier_without_wait_leaves_what_is_in_hands() {
    seal().breaks(Bug::BarrierWithoutWait, LEFT);
}

#[test]
fn page_in_hand_before_it_is_counted_is_left() {
    seal().breaks(Bug::RaiseAfterReplace, LEFT);
    seal_and_drain().breaks(Bug::DrainRaisesAfterSwap, LEFT);
}

#[test]
fn page_in_hand_after_it_was_counted_is_left() {
    seal().breaks(Bug::LowerBeforeQueue, LEFT);
}

#[test]
fn marks_in_a_hand_that_nobody_waits_for_are_left() {
    marks().breaks(Bug::MarksNotLocked, LEFT);
}

#[test]
fn marks_that_are_not_listed_yet_are_left_by_who_trusts_the_list() {
    marks().breaks(Bug::MarksFoundByTheList, LEFT);
}

#[test]
fn flip_before_the_drain_leaves_what_is_taken_between() {
    seal().breaks(Bug::FlipBeforeDrain, LEFT);
}

#[test]
fn raise_without_a_second_look_counts_on_the_wrong_side() {
    two_seals_and_two_barriers().breaks(Bug::RaiseWithoutRecheck, LEFT);
}

#[test]
fn barriers_that_flip_at_once_wait_for_the_wrong_side() {
    seal_and_barriers_at_once().breaks(Bug::BarriersNotSerialised, LEFT);
}

#[test]
fn cookie_before_the_wait_leaves_what_was_queued_meanwhile() {
    seal().breaks(Bug::CookieBeforeWait, LEFT);
}

#[test]
fn barrier_that_passes_over_locked_queues_leaves_them() {
    seal_and_poll().breaks(Bug::BarrierSkipsLockedQueues, LEFT);
}

#[test]
fn unripe_pages_pushed_back_hide_behind_younger_ones() {
    old_and_young().breaks(Bug::UnripePushedBack, LEFT);
}

#[test]
fn poll_that_wants_more_than_the_cookie_leaves_the_page() {
    seal().breaks(Bug::PollComparesGreater, LEFT);
}

#[test]
fn lowered_under_another_index_or_cpu_the_count_is_never_zero() {
    seal().breaks(Bug::LowerUnderCurrentIndex, "stuck");
    one_is_moved().breaks(Bug::LowerOnThisCpu, "not zero at the end");
}
