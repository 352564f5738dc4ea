//! Pages: magazines whose objects wait for a grace period together.
//!
//! ```text
//!   empty page --> deferred slot --push, push, push--> full
//!        ^                                              | taken out: owned and final
//!        |                                              | stamped, queued        (seal)
//!     a full magazine of the depot  <--- its time has come                       (ripen)
//! ```
//!
//! Invariants:
//! - A page is stamped after it is owned, never before: the newest object decides, and as long as the page stands in
//!   its slot there may be a newer one.
//! - A page is queued with one stamp and comes back whole. Two pages never become one.
//! - Whoever takes a page out of a slot is in transit until it is queued.

use super::budget;
use super::cells::{self, Cell};
use super::in_transit::InTransit;
use super::pending::Stamped;
use crate::cache::{self, ByNumber, Hand};
use crate::platform::locked::{Push, Replace};
use crate::platform::slots;
use crate::platform::thread;
use crate::size_class::SizeClass;
use crate::slab;
use crate::slow_path::SlowPath;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

impl Stamped for ByNumber {
    fn stamp(&self, index: u32) -> &AtomicU64 {
        cache::magazine(index).stamp()
    }
}

/// Exchanges tried before the page in hand is queued as it is: each failure means a migration or a nested deferral.
const TRIES: u32 = 8;
/// Pages that come back in passing for each one sealed: more than one, so that a backlog goes away.
const IN_PASSING: usize = 2;

/// What became of an object that found no room in its slot's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deferred {
    /// It is in a page, or marked.
    Done,
    /// As well, and grace periods should be pushed on.
    Sealed,
    /// There is no page to be had.
    Exhausted,
}

/// Bytes that a page of the class can hold.
fn payload(class: SizeClass) -> usize {
    cache::capacity(class) as usize * class.bytes()
}

/// What a page may cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Budget {
    Kept,
    /// For what waits already, marked: above the budget, too.
    Ignored,
}

/// An empty page for objects of `class`, charged to this cell; `None` when the budget is spent or there is no magazine.
fn issue(cell: &Cell, class: SizeClass, budget: Budget, slow: &SlowPath) -> Option<Hand> {
    match budget {
        Budget::Kept if !budget::try_charge(cell, payload(class)) => return None,
        Budget::Kept => {}
        Budget::Ignored => budget::charge(cell, payload(class)),
    }
    let page = cache::empty(class, slow);
    match &page {
        Some(page) => page.set_class(class.index()),
        None => budget::refund(cell, payload(class)),
    }
    page
}

/// Takes back a page that was not used.
fn withdraw(cell: &Cell, class: SizeClass, page: Hand) {
    budget::refund(cell, payload(class));
    cache::put_empty(page);
}

/// Stamps a page that is owned, and queues it at its home. An empty one is withdrawn.
fn seal(class: SizeClass, page: Hand) {
    let Some(home) = cells::all().get(page.home() as usize) else { return cache::count_lost(1) };
    if page.is_empty() {
        return withdraw(home, class, page);
    }
    home.count(class, page.count());
    home.sealed.fetch_add(1, Relaxed);
    home.pages.stamp_and_push(&ByNumber, page.index());
}

/// Defers an object that the fast path found no room for.
pub(super) fn overflow(class: SizeClass, object: *mut u8, slow: &SlowPath) -> Deferred {
    match slots::push_locked(cache::deferred_slot(class), object) {
        Push::Done => return Deferred::Done,
        Push::Full => {}
        Push::Busy => {
            super::mark(class, object);
            return Deferred::Done;
        }
    }
    let Some(cell) = cells::here() else { return Deferred::Exhausted };
    cache::upkeep(slow);
    budget::look(slow);
    ripen(cell, IN_PASSING, slow);
    if slow.may_block() && slab::marks::DEFERRED.is_pending() && budget::has_room(payload(class)) {
        collect_marked(slow);
    }
    let _in_transit = InTransit::enter(cell, slow.may_block());
    let Some(page) = issue(cell, class, Budget::Kept, slow) else { return Deferred::Exhausted };
    page.push(object);
    let sealed = cell.sealed.load(Relaxed);
    exchange(cell, class, page);
    if cell.sealed.load(Relaxed) != sealed && is_time_to_help(cell) { Deferred::Sealed } else { Deferred::Done }
}

/// Puts a page with one object into the class's slot and seals what was there. The caller is in transit.
fn exchange(cell: &'static Cell, class: SizeClass, page: Hand) {
    let slot = cache::deferred_slot(class);
    for _ in 0..TRIES {
        let seen = slots::peek(slot);
        // SAFETY: slots hold magazines, which are type-stable; the counts are a hint here.
        if !unsafe { &*seen }.is_full() {
            // Somebody has put a fresh page there meanwhile.
            let Some(object) = page.pop() else { break };
            if super::push(class, object) || slots::push_locked(slot, object) == Push::Done {
                return withdraw(cell, class, page);
            }
            page.push(object);
            continue;
        }
        match slots::replace(slot, seen, page.as_raw()) {
            Replace::Done => {
                note_open();
                // SAFETY: the exchange took it out of the slot of this CPU, so it is ours.
                if let Some(old) = unsafe { Hand::from_raw(seen) } {
                    seal(class, old);
                }
                return;
            }
            Replace::Changed => {}
            Replace::Busy => break,
        }
    }
    seal(class, page);
}

/// Notes that there is a page in some slot here: after it was put there, or a drain in between would clear the note.
fn note_open() {
    // The thread may have moved since: then the note is at the wrong cell, and `drain` looks at all of them in time.
    if let Some(cell) = cells::here() {
        cell.open.store(true, Release); // Release: who takes the note sees the page; pairs with `maintain`
    }
}

/// Whether this caller is to push grace periods on: at every so many sealed pages, and at each one under pressure.
fn is_time_to_help(cell: &Cell) -> bool {
    let every = u64::from(crate::tunables::HELP_PAGES.load(Relaxed));
    every != 0 && (cell.sealed.load(Relaxed).is_multiple_of(every) || budget::is_pressed())
}

/// Takes back up to `limit` pages of a cell whose time has come: they are full magazines of the depot then.
pub(super) fn ripen(cell: &Cell, limit: usize, slow: &SlowPath) {
    cell.pages.poll(&ByNumber, limit, |number| take_back(cell, number, slow));
}

/// Takes back all of them, when whoever is at it is done.
pub(super) fn ripen_patiently(cell: &Cell, slow: &SlowPath) {
    cell.pages.poll_patiently(&ByNumber, |number| take_back(cell, number, slow));
}

fn take_back(cell: &Cell, number: u32, slow: &SlowPath) {
    // SAFETY: taken off the queue, so ours.
    let page = unsafe { Hand::by_number(number) };
    let class = SizeClass::from_index(page.class());
    cell.discount(class, page.count());
    cell.recycled.fetch_add(1, Relaxed);
    budget::refund(cell, payload(class));
    cache::store(class, page, slow);
}

/// Takes the pages out of all deferred slots of the given cells and seals them. With `patience` it waits for slots that
/// somebody is inside of. Takes locks: not in atomic context.
pub(super) fn drain(of: impl Iterator<Item = u32>, patience: bool) {
    let Some(here) = cells::here() else { return };
    let _in_transit = InTransit::enter(here, true);
    let open = |cell: u32| cells::all()[cell as usize].open.store(true, Relaxed); // the next drain looks again
    cache::take_remotely(of, |class| [cache::deferred_slot(class)], patience, open, seal);
}

/// Somebody collects marks, from taking them to queueing their pages: what could not be taken is marked again when this is
/// left, so a barrier that has held it has found every mark from before.
static COLLECTING: AtomicBool = AtomicBool::new(false);

/// Puts objects with a deferred mark into pages, as far as the budget goes, unless somebody else does.
pub(super) fn collect_marked(slow: &SlowPath) {
    // Acquire and Release: one after the other sees what was marked again.
    if !COLLECTING.swap(true, Acquire) {
        collect(false, Budget::Kept, slow);
        unlock_marks();
    }
}

/// Puts all of them into pages; false if there were not enough magazines.
pub(super) fn collect_all_marked(slow: &SlowPath) -> bool {
    lock_marks();
    let all = collect(true, Budget::Ignored, slow);
    unlock_marks();
    all
}

/// Waits for who is collecting, and keeps others out.
pub(super) fn lock_marks() {
    while COLLECTING.swap(true, Acquire) {
        thread::pause();
    }
}

/// Leaves it again.
pub(super) fn unlock_marks() {
    COLLECTING.store(false, Release);
}

fn collect(everywhere: bool, budget: Budget, slow: &SlowPath) -> bool {
    let Some(cell) = cells::here() else { return true };
    let _in_transit = InTransit::enter(cell, true); // before any mark is taken
    let mut open: Option<(SizeClass, Hand)> = None;
    let all = slab::marks::take_deferred(everywhere, |class, object| {
        if let Some((_, page)) = open.as_ref().filter(|(of, page)| *of == class && !page.is_full()) {
            return page.push(object);
        }
        if let Some((of, page)) = open.take() {
            seal(of, page);
        }
        let Some(page) = issue(cell, class, budget, slow) else { return false };
        page.push(object);
        open = Some((class, page));
        true
    });
    if let Some((of, page)) = open {
        seal(of, page);
    }
    all
}
