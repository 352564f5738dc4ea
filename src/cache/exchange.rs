//! One magazine at a time between `main`, `spare` and the depot.
//!
//! ```text
//!   refill (main is empty)                     overflow (main is full)
//!     a magazine with objects from               a magazine with room from
//!       spare, depot, a span, the reserve          spare, depot, new, the reserve
//!     serve the caller from it                   put the caller's object into it
//!     main: old -> it                            main: old -> it
//!     the old one: shelve                        the old one: shelve
//!
//!   shelve: spare if that has none, else the depot by what it holds now
//! ```

use super::aside;
use super::depot::{Depot, depot};
use super::magazines::Hand;
use super::{bypass, capacity, main_slot, short, spare_slot, upkeep};
use crate::platform::Magazine;
use crate::platform::locked::Replace;
use crate::platform::slots::{self, Slot};
use crate::size_class::SizeClass;
use crate::slab;
use crate::slow_path::SlowPath;

/// Exchanges tried before the magazine in hand goes to the depot: each failure means a migration or a nested exchange.
const TRIES: u32 = 8;

/// `main` had no object: gets a magazine that has, and serves the caller from it. Null without memory.
pub(super) fn refill(class: SizeClass, slow: &SlowPath) -> *mut u8 {
    let Some(depot) = depot() else { return core::ptr::null_mut() };
    upkeep::before(slow);
    let Some(magazine) = with_objects(depot, class, slow) else { return bypass::alloc(class, slow) };
    let object = magazine.pop().unwrap_or(core::ptr::null_mut()); // it has objects, or it was not chosen
    install(depot, class, magazine, slow);
    object
}

/// `main` had no room: gets a magazine that has, and puts the caller's object into it.
pub(super) fn overflow(class: SizeClass, object: *mut u8, slow: &SlowPath) {
    let Some(depot) = depot() else { return bypass::free(class, object, slow) };
    upkeep::before(slow);
    match with_room(depot, class, slow) {
        Some(magazine) => {
            magazine.push(object);
            install(depot, class, magazine, slow);
        }
        None => bypass::free(class, object, slow),
    }
}

fn with_objects(depot: &Depot, class: SizeClass, slow: &SlowPath) -> Option<Hand> {
    take_spare(depot, class, slow, |magazine| !magazine.is_empty())
        .or_else(|| depot.take_full(class))
        .or_else(|| filled(depot, class, slow))
}

/// A magazine filled from a span, or from the reserve in atomic context.
fn filled(depot: &Depot, class: SizeClass, slow: &SlowPath) -> Option<Hand> {
    let first = slow.may_block().then(|| Hand::first(class)).flatten();
    let magazine = first.or_else(|| empty(depot, class, slow))?;
    upkeep::decay(slow);
    let count = if slow.may_block() {
        slab::fill(class, &magazine, capacity(class) as usize)
    } else {
        slab::reserve::take(class, capacity(class) as usize, |object| {
            magazine.push(object);
        })
    };
    if count > 0 {
        return Some(magazine);
    }
    depot.put_empty(magazine);
    None
}

fn with_room(depot: &Depot, class: SizeClass, slow: &SlowPath) -> Option<Hand> {
    take_spare(depot, class, slow, |magazine| !magazine.is_full() && !short::is_number(magazine.index()))
        .or_else(|| empty(depot, class, slow))
}

/// An empty magazine, made one of `class`.
pub(super) fn empty(depot: &Depot, class: SizeClass, slow: &SlowPath) -> Option<Hand> {
    let found = depot.take_empty(!slow.may_block());
    let magazine = found.or_else(|| slow.may_block().then(|| aside::take().or_else(Hand::make)).flatten());
    // Without memory for a new one, callers that may block use the reserve too before they go without.
    let magazine = magazine.or_else(|| depot.take_empty(true))?;
    magazine.set_capacity(capacity(class));
    magazine.set_home(slots::cell());
    Some(magazine)
}

/// Takes the spare magazine if it is what is wanted, by the count it has once it is ours.
fn take_spare(depot: &Depot, class: SizeClass, slow: &SlowPath, wanted: impl Fn(&Magazine) -> bool) -> Option<Hand> {
    let slot = spare_slot(class);
    let seen = slots::peek(slot);
    // SAFETY: slots hold magazines, which are type-stable; the counts are a hint here.
    if !wanted(unsafe { &*seen }) {
        return None; // EMPTY has neither objects nor room
    }
    let magazine = swap_out(slot, seen)?;
    if wanted(&magazine) {
        return Some(magazine);
    }
    store(depot, class, magazine, slow);
    None
}

/// Puts `magazine` into `main` and shelves what was there.
fn install(depot: &Depot, class: SizeClass, magazine: Hand, slow: &SlowPath) {
    let slot = main_slot(class);
    for _ in 0..TRIES {
        let seen = slots::peek(slot);
        match slots::replace(slot, seen, magazine.as_raw()) {
            Replace::Done => {
                // SAFETY: the exchange took it out of the slot of this CPU, so it is ours.
                if let Some(old) = unsafe { Hand::from_raw(seen) } {
                    old.set_home(slots::cell());
                    shelve(depot, class, old, slow);
                }
                return;
            }
            Replace::Changed => {}
            Replace::Busy => break,
        }
    }
    store(depot, class, magazine, slow);
}

/// Puts a magazine into `spare` if that has none, else into the depot.
fn shelve(depot: &Depot, class: SizeClass, magazine: Hand, slow: &SlowPath) {
    let slot = spare_slot(class);
    let vacant = slots::peek(slot) == slots::empty();
    let retires = magazine.is_short() && magazine.is_empty();
    if retires || !vacant || slots::replace(slot, slots::empty(), magazine.as_raw()) != Replace::Done {
        store(depot, class, magazine, slow);
    }
}

/// Puts a magazine into the depot, by what it holds now; above the depot's bound its objects go to their spans.
pub(super) fn store(depot: &Depot, class: SizeClass, magazine: Hand, slow: &SlowPath) {
    if magazine.is_empty() {
        return depot.put_empty(magazine);
    }
    if let Err(magazine) = depot.put_full(class, magazine, slow.may_block()) {
        slab::put_all(class, &magazine);
        depot.put_empty(magazine);
        upkeep::decay(slow);
    }
}

/// Swaps a slot from `seen` to EMPTY; what was there is ours.
fn swap_out(slot: Slot, seen: *mut Magazine) -> Option<Hand> {
    match slots::replace(slot, seen, slots::empty()) {
        // SAFETY: the exchange took it out of the slot of this CPU, so it is ours.
        Replace::Done => unsafe { Hand::from_raw(seen) },
        Replace::Changed | Replace::Busy => None,
    }
}
