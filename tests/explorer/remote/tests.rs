//! The cases of the remote take: against sections, exchanges, another taker, a handler, a third CPU.
//!
//! ```text
//!   mutant                          breach
//!   RemoteWithoutMembarrier         the section over there commits what the taker has taken out too
//!   RemoteReadsBeforeMembarrier     the same, by a count that was right when it was read
//!   RemoteLoadsThenStores           a magazine installed between load and store is nowhere
//!   ReplaceComparesThenStores       the installer and the taker both hold the old magazine
//! ```

use super::*;
use crate::case::Case;
use crate::engine::Bounds;
use crate::slots::{ALLOC, FREE};

/// A thread that pops and pushes on CPU 0 or wherever it is moved to, and a taker.
fn sections() -> Case {
    let cells = Cells::new(&[Some(&[1, 2]), None], &[], 0, &[&[], &[]]);
    Case::new("a slot is taken while it is used", cells, &[&[&ALLOC, &FREE], &[&TAKE]])
}

fn exchange() -> Case {
    let cells = Cells::new(&[None, None], &[&[1, 2]], 1, &[&[], &[]]);
    Case::new("a slot is taken while its magazine is exchanged", cells, &[&[&ALLOC, &ALLOC, &FREE], &[&TAKE]])
}

fn two_users(programs: &[&[&'static Routine<Cells>]]) -> Case {
    let cells = Cells::new(&[Some(&[1]), None], &[&[2, 3]], 1, &[&[], &[4], &[]]);
    Case::new("a slot is taken while two threads use it", cells, programs)
}

fn two_takers() -> Case {
    let cells = Cells::new(&[Some(&[1]), None], &[&[2, 3]], 1, &[&[], &[], &[]]);
    Case::new("a slot is taken twice while it is used", cells, &[&[&ALLOC, &ALLOC], &[&TAKE], &[&TAKE]])
}

fn taken_by_a_handler() -> Case {
    let cells = Cells::new(&[Some(&[1]), None], &[&[2, 3]], 1, &[&[], &[4]]);
    Case::new("a handler takes the slot that it interrupts", cells, &[&[&ALLOC], &[&FREE]]).with_signals(1, &[&TAKE])
}

fn three_cpus() -> Case {
    let cells = Cells::new(&[Some(&[1]), None, None], &[&[2, 3]], 1, &[&[], &[4], &[]]);
    Case::new("a slot is taken by a third cpu", cells, &[&[&ALLOC, &FREE], &[&FREE, &ALLOC], &[&TAKE]])
        .with_bounds(Bounds { preemptions: 1, migrations: 1, signals: 0 })
}

#[test]
fn remote_take_owns_what_it_takes() {
    sections().is_clean();
    exchange().is_clean();
}

#[test]
fn remote_takes_of_one_slot_do_not_meet() {
    two_takers().is_clean();
}

#[test]
fn remote_take_by_a_handler_restarts_what_it_interrupts() {
    taken_by_a_handler().is_clean();
}

#[test]
fn remote_take_beside_two_users_loses_nothing() {
    two_users(&[&[&ALLOC], &[&FREE], &[&TAKE]]).is_clean();
}

#[test]
#[ignore = "large: for --release"]
fn remote_take_beside_two_busy_users_loses_nothing() {
    three_cpus().is_clean();
    two_users(&[&[&ALLOC, &FREE], &[&FREE, &ALLOC], &[&TAKE]]).is_clean();
}

#[test]
fn remote_take_without_membarrier_hands_an_object_out_twice() {
    sections().breaks(Bug::RemoteWithoutMembarrier, "in 2 places");
}

#[test]
fn count_read_before_the_membarrier_hands_an_object_out_twice() {
    sections().breaks(Bug::RemoteReadsBeforeMembarrier, "in 2 places");
}

#[test]
fn remote_take_by_load_and_store_loses_a_magazine() {
    exchange().breaks(Bug::RemoteLoadsThenStores, "lost");
}

#[test]
fn replace_by_compare_and_store_is_overtaken_by_a_remote_swap() {
    exchange().breaks(Bug::ReplaceComparesThenStores, "in 2 places");
}
