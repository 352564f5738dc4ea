//! The cases of counted readers: moved, interrupted, nested, on the shared record, while records open.
//!
//! ```text
//!   mutant                        what is freed under a reader
//!   ParityOutsideTheSection       who has the old parity, is late, and counts under it when nobody looks any more
//!   FenceForRestart, NoSettle     the same, from inside the section
//!   NoSecondLook                  the same, on the shared record
//!   NoSettle                      also who has counted, and nobody sees it yet
//!   NoFirstFence                  who comes under the new parity with what it loaded before
//!   NoLastFence                   who has left, and reads
//!   FlipBeforeBegin               who came after the flip, and a position from before the beginning
//!   PositionTrustsTheRunning      the same, from before the end
//!   OneRecordNotFlipped           who enters there under a parity that is not waited for next time
//!   OneRecordForgotten            who entered there; SharedRecordForgotten likewise
//!   EnteredBeforeLeft             who stays, while another takes its count back between the two sums
//!   LiveParityTested              who stays, while another is seen leaving before it is seen entering
//!   OpenedWithoutFence            as NoFirstFence
//!   OpenedWithoutLock             who enters under a parity that was retired meanwhile; OpenedUnderTheFirstParity likewise
//!   LeftUnderTheCurrentParity     nothing: the grace period waits for ever
//!   LeftOnClosedRecordForgotten   the same
//!   KeptUnderAYoungerGuard        what was found under a guard that is gone: the program's mistake
//!   HandlerContinues              a reader that a handler's reader has interrupted between load and count
//! ```

use super::*;
use crate::case::Case;
use crate::driver::{DRIVE, OPEN, WRITE};

type Program<'a> = &'a [&'static Routine<Counts>];

const READ: Program<'static> = &[&LOAD_AHEAD, &ENTER, &LOOK, &LEAVE];
const READ_SHARED: Program<'static> = &[&ENTER_SHARED, &LOOK, &LEAVE_SHARED];
const FREE: &str = "free while a reader has it";

fn case(name: &'static str, memory: Counts, readers: &[Program], others: &[Program]) -> Case<Counts> {
    let fixed: [Program; 3] = [&[&DRIVE], &[&WRITE], &[&HARDWARE]];
    Case::new(name, memory, readers).with_bystanders(&[&fixed, others].concat())
}

/// It may be moved between all steps; another grace period is under way or has been before the writer's.
fn one() -> Case<Counts> {
    case("a reader, moved", Counts::new(2).after_another(), &[READ], &[])
}

fn two() -> Case<Counts> {
    case("two readers on two CPUs", Counts::new(2), &[READ, READ], &[])
}

fn two_on_one() -> Case<Counts> {
    case("two readers on a CPU", Counts::new(1), &[READ, READ], &[])
}

fn nested() -> Case<Counts> {
    let both: Program = &[&LOAD_AHEAD, &ENTER, &LOOK, &ENTER, &LEAVE, &LOOK, &LEAVE];
    case("a reader in a reader, and the outer ends first", Counts::new(1).after_another(), &[both], &[])
}

fn handler() -> Case<Counts> {
    case("a handler reads inside a reader", Counts::new(1).after_another(), &[READ], &[]).with_signals(1, READ)
}

fn owned() -> Case<Counts> {
    let sends: Program = &[&LOAD_AHEAD, &ENTER, &LOOK, &HAND_OVER];
    case("a guard ends on another thread", Counts::new(2), &[sends, &[&RECEIVE, &LEAVE]], &[])
}

/// The other thread has no CPU number.
fn owned_elsewhere() -> Case<Counts> {
    let sends: Program = &[&LOAD_AHEAD, &ENTER, &LOOK, &HAND_OVER];
    let memory = Counts::new(1).after_another();
    case("a guard ends on a thread without a CPU number", memory, &[sends], &[&[&RECEIVE, &LEAVE_SHARED]])
}

fn shared() -> Case<Counts> {
    case("two readers on the shared record", Counts::new(0).after_another(), &[], &[READ_SHARED, READ_SHARED])
}

fn shared_and_own() -> Case<Counts> {
    case("a reader on the shared record, one on a CPU's", Counts::new(1), &[READ], &[READ_SHARED])
}

/// Who came when records were closed leaves when they are open, perhaps.
fn opening() -> Case<Counts> {
    case("records open beside a reader", Counts::new(1).closed().after_another(), &[READ], &[&[&OPEN]])
}

/// Somebody holds the grace period up, so that records may open while it runs.
fn opening_midway() -> Case<Counts> {
    case("records open under a grace period", Counts::new(1).closed(), &[READ], &[READ_SHARED, &[&OPEN]])
}

#[test]
fn a_reader_is_waited_for_wherever_it_is_moved() {
    one().is_clean();
}

#[test]
fn two_readers_are_waited_for() {
    two_on_one().is_clean();
    two().is_clean();
}

#[test]
fn nested_guards_are_waited_for() {
    nested().is_clean();
}

#[test]
fn what_an_older_guard_has_found_a_younger_one_does_not_protect() {
    nested().breaks(Bug::KeptUnderAYoungerGuard, FREE);
}

#[test]
fn a_handler_may_read_inside_a_reader() {
    handler().is_clean();
}

#[test]
fn a_guard_may_end_on_another_thread() {
    owned().is_clean();
    owned_elsewhere().is_clean();
}

#[test]
fn readers_on_the_shared_record_are_waited_for() {
    shared().is_clean();
    shared_and_own().is_clean();
}

#[test]
fn records_may_open_at_any_time() {
    opening().is_clean();
    opening_midway().is_clean();
}

/// As x86_64 does it: a single membarrier, which restarts sections.
#[test]
fn where_loads_are_in_order_the_restart_is_all_it_takes() {
    let in_order = |case: Case<Counts>| case.with_memory(|memory| memory.in_order = true);
    let cases = [
        one,
        two,
        two_on_one,
        nested,
        handler,
        owned,
        owned_elsewhere,
        shared,
        shared_and_own,
        opening,
        opening_midway,
    ];
    cases.into_iter().for_each(|case| in_order(case()).is_clean());
    for bug in [Bug::NoSettle, Bug::FenceForRestart, Bug::ParityOutsideTheSection] {
        in_order(one()).breaks(bug, FREE);
    }
}

#[test]
fn a_parity_from_before_the_section_is_found() {
    one().breaks(Bug::ParityOutsideTheSection, FREE);
}

#[test]
fn a_flip_that_does_not_restart_sections_is_found() {
    one().breaks(Bug::FenceForRestart, FREE);
}

#[test]
fn a_flip_that_does_not_settle_is_found() {
    one().breaks(Bug::NoSettle, FREE);
}

#[test]
fn a_second_look_left_out_is_found() {
    shared().breaks(Bug::NoSecondLook, FREE);
}

#[test]
fn fences_left_out_are_found() {
    one().breaks(Bug::NoFirstFence, FREE);
    one().breaks(Bug::NoLastFence, FREE);
}

#[test]
fn a_flip_before_the_beginning_is_found() {
    one().breaks(Bug::FlipBeforeBegin, FREE);
}

#[test]
fn a_position_that_trusts_the_running_grace_period_is_found() {
    one().breaks(Bug::PositionTrustsTheRunning, FREE);
}

#[test]
fn a_record_that_is_not_flipped_is_found() {
    one().breaks(Bug::OneRecordNotFlipped, FREE);
}

#[test]
fn a_record_that_is_forgotten_is_found() {
    one().breaks(Bug::OneRecordForgotten, FREE);
    shared().breaks(Bug::SharedRecordForgotten, FREE);
}

#[test]
fn entered_added_up_before_left_is_found() {
    shared().breaks(Bug::EnteredBeforeLeft, FREE);
}

#[test]
fn a_look_at_the_live_parity_is_found() {
    two().breaks(Bug::LiveParityTested, FREE);
}

#[test]
fn records_opened_carelessly_are_found() {
    opening_midway().breaks(Bug::OpenedWithoutFence, FREE);
    opening().breaks(Bug::OpenedWithoutLock, FREE);
    opening().breaks(Bug::OpenedUnderTheFirstParity, FREE);
}

#[test]
fn counted_out_in_the_wrong_place_readers_are_waited_for_for_ever() {
    one().breaks(Bug::LeftUnderTheCurrentParity, "stuck");
    opening().breaks(Bug::LeftOnClosedRecordForgotten, "0 left at the end");
}

#[test]
fn a_section_that_goes_on_after_a_signal_is_found() {
    handler().breaks(Bug::HandlerContinues, FREE);
}
