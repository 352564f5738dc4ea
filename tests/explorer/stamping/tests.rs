//! The cases of stamping: seals of one slot and of two, drains, marks, polls.
//!
//! ```text
//!   mutant                      breach
//!   CookieTrustsTheRunning      the grace period that runs has probed before the reader entered
//!   ProbeBeforeBegin            the reader enters between the probe and the number that tells of it
//!   StampBeforeOwned            another thread pushes between the cookie and replace
//!   StampBeforeMembarrier       what unlinked the object is still in a store buffer when the cookie is taken
//!   DrainWithoutMembarrier      the same; and a push commits to a page that is nobody's any more
//!   NewerMerged                 the newer object goes by the older one's cookie
//!   MarkStampedBeforeTaken      a mark is set between the cookie and the swap
//!   MarkWithoutRelease          the mark is seen and what unlinked its object is not
//!   PollSkipsTheCheck           no cookie is looked at
//!   PollTrustsTheFirst          the others are taken to be as old as the first
//! ```

use crate::case::Case;
use crate::defer::{DEFER, DEFER_BY_MARK};
use crate::drain::{APPLY_MARKS, DRAIN};
use crate::engine::Routine;
use crate::grace::{GRACE_PERIOD, READ, STORE_BUFFERS};
use crate::pages::{Bug, Deferral, Object};
use crate::poll::POLL;

type Programs<'a> = &'a [&'a [&'static Routine<Deferral>]];

const TWO_GRACE_PERIODS: &[&Routine<Deferral>] = &[&GRACE_PERIOD, &GRACE_PERIOD];

/// Two threads on one CPU: what one has peeked at, the other exchanges and fills.
fn sealing() -> Case<Deferral> {
    let memory = Deferral::new(&[None], 2, &[&[1], &[2, 3]]);
    Case::new("pages of one slot are sealed by two threads", memory, &[&[&DEFER], &[&DEFER, &DEFER]])
        .with_bystanders(&[TWO_GRACE_PERIODS, &[&READ]])
}

/// Preempted and moved between any two steps.
fn moving(slots: &[Option<&[Object]>], hands: &[&[Object]], programs: Programs) -> Case<Deferral> {
    let memory = Deferral::new(slots, 2, hands).with_store_buffers();
    Case::new("a page is sealed by a thread that is moved", memory, programs).with_bystanders(&[
        TWO_GRACE_PERIODS,
        &[&READ],
        &[&STORE_BUFFERS],
    ])
}

fn one_is_moved() -> Case<Deferral> {
    moving(&[Some(&[1, 2]), Some(&[3, 4])], &[&[5]], &[&[&DEFER]])
}

fn two_are_moved() -> Case<Deferral> {
    moving(&[Some(&[1, 2]), Some(&[3])], &[&[4], &[5]], &[&[&DEFER], &[&DEFER]])
}

fn draining(slots: &[Option<&[Object]>], hands: &[&[Object]], programs: Programs) -> Case<Deferral> {
    let memory = Deferral::new(slots, 2, hands).with_store_buffers();
    Case::new("partial pages are drained while they are pushed to", memory, programs).with_bystanders(&[
        TWO_GRACE_PERIODS,
        &[&READ],
        &[&DRAIN],
        &[&STORE_BUFFERS],
    ])
}

fn one_push_is_drained() -> Case<Deferral> {
    draining(&[Some(&[1])], &[&[2]], &[&[&DEFER]])
}

fn a_seal_is_drained() -> Case<Deferral> {
    draining(&[Some(&[1]), None], &[&[2, 3]], &[&[&DEFER, &DEFER]])
}

/// Nothing is in the page that is taken, and so it waits for nothing.
fn an_empty_page_is_drained() -> Case<Deferral> {
    draining(&[Some(&[])], &[&[1]], &[&[&DEFER]])
}

fn two_drains() -> Case<Deferral> {
    let memory = Deferral::new(&[Some(&[1])], 2, &[&[2, 3]]).with_store_buffers();
    Case::new("two threads drain the same slots", memory, &[&[&DEFER, &DEFER]]).with_bystanders(&[
        TWO_GRACE_PERIODS,
        &[&READ],
        &[&DRAIN],
        &[&DRAIN],
        &[&STORE_BUFFERS],
    ])
}

fn handlers() -> Case<Deferral> {
    let memory = Deferral::new(&[Some(&[1])], 3, &[&[2, 3, 4]]);
    Case::new("a handler defers between any two steps", memory, &[&[&DEFER, &DEFER]])
        .with_signals(1, &[&DEFER])
        .with_bystanders(&[TWO_GRACE_PERIODS, &[&READ], &[&DRAIN]])
}

fn marks() -> Case<Deferral> {
    let memory = Deferral::new(&[None], 2, &[&[1, 2]]).with_store_buffers();
    Case::new("marks are applied while they are set", memory, &[&[&DEFER_BY_MARK, &DEFER_BY_MARK]]).with_bystanders(&[
        TWO_GRACE_PERIODS,
        &[&READ],
        &[&APPLY_MARKS, &APPLY_MARKS],
        &[&STORE_BUFFERS],
    ])
}

/// Partial pages, drained one after the other, and a poller.
fn polling() -> Case<Deferral> {
    let memory = Deferral::new(&[Some(&[1])], 1, &[&[2]]);
    Case::new("pages of different ages are polled", memory, &[&[&DEFER]]).with_bystanders(&[
        TWO_GRACE_PERIODS,
        &[&READ],
        &[&DRAIN, &DRAIN],
        &[&POLL],
    ])
}

#[test]
fn a_page_sealed_by_its_owner_is_stamped_after_its_newest_object() {
    sealing().is_clean();
}

#[test]
fn preempted_or_moved_before_the_cookie_a_page_is_stamped_later() {
    one_is_moved().is_clean();
}

#[test]
fn a_drained_page_is_stamped_after_its_newest_object() {
    one_push_is_drained().is_clean();
    an_empty_page_is_drained().is_clean();
}

#[test]
#[ignore = "large: for --release"]
fn handlers_defer_into_whatever_slot_they_find() {
    handlers().is_clean();
}

#[test]
fn marks_are_stamped_after_they_are_taken() {
    marks().is_clean();
}

#[test]
fn a_page_is_polled_by_its_own_cookie() {
    polling().is_clean();
}

#[test]
#[ignore = "large: for --release"]
fn drains_and_seals_of_the_same_slots_are_stamped_after_their_newest_objects() {
    a_seal_is_drained().is_clean();
    two_drains().is_clean();
    two_are_moved().is_clean();
}

#[test]
fn cookie_that_trusts_the_running_grace_period_frees_early() {
    one_push_is_drained().breaks(Bug::CookieTrustsTheRunning, "is free");
}

#[test]
fn probe_before_the_beginning_misses_a_reader() {
    one_push_is_drained().breaks(Bug::ProbeBeforeBegin, "is free");
}

#[test]
fn stamp_before_the_page_is_owned_frees_what_is_pushed_after() {
    sealing().breaks(Bug::StampBeforeOwned, "is free");
}

#[test]
fn stamp_before_the_membarrier_misses_what_is_in_a_store_buffer() {
    one_push_is_drained().breaks(Bug::StampBeforeMembarrier, "is free");
}

#[test]
fn drain_without_membarrier_misses_a_push_that_is_half_way() {
    one_push_is_drained().breaks(Bug::DrainWithoutMembarrier, "is free");
    an_empty_page_is_drained().breaks(Bug::DrainWithoutMembarrier, "among the empties");
}

#[test]
fn newer_objects_on_an_older_cookie_are_freed_early() {
    polling().breaks(Bug::NewerMerged, "is free");
}

#[test]
fn marks_stamped_before_they_are_taken_are_freed_early() {
    marks().breaks(Bug::MarkStampedBeforeTaken, "is free");
}

#[test]
fn marks_without_release_are_seen_before_the_unlinking() {
    marks().breaks(Bug::MarkWithoutRelease, "is free");
}

#[test]
fn poll_without_a_look_at_the_cookie_frees_early() {
    polling().breaks(Bug::PollSkipsTheCheck, "is free");
}

#[test]
fn poll_that_trusts_the_first_in_line_frees_early() {
    polling().breaks(Bug::PollTrustsTheFirst, "is free");
}
