//! Other CPUs' slots: taken for `trim`, before memory is declared exhausted, and from CPUs that went idle.
//!
//! ```text
//!   for each slot: magazine <- swap(slot, EMPTY)        the CPU there may still be inside a section on it
//!   membarrier                                          now it is not: it restarted, and found EMPTY
//!   each magazine taken is ours                         (a kernel that refuses: they stay unowned, lost and counted)
//! ```
//!
//! One membarrier serves any number of slots.

use super::aside;
use super::depot::{Depot, depot};
use super::magazines::Hand;
use super::{main_slot, spare_slot};
use crate::platform::fatal::report;
use crate::platform::slots::{self, Slot};
use crate::platform::{Magazine, thread};
use crate::size_class::SizeClass;
use crate::slab;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

/// The kernel refused a membarrier once: no remote takes any more.
static SWITCHED_OFF: AtomicBool = AtomicBool::new(false);
/// Magazines lost that way, and (about) the objects they had.
pub(super) static LOST_MAGAZINES: AtomicU64 = AtomicU64::new(0);
pub(super) static LOST_OBJECTS: AtomicU64 = AtomicU64::new(0);

/// Decay passes so far: the clock of `reclaim_idle`, and what slow paths note as their cell's last activity.
static PASSES: AtomicU32 = AtomicU32::new(1);
/// A cell without a slow path for so many passes counts as idle.
const IDLE_PASSES: u32 = 10;

/// Slots taken before one membarrier: they stand on the stack.
const BATCH: usize = 64;

/// Magazines swapped out of their slots, not owned yet.
struct Taken {
    entries: [(Option<SizeClass>, *mut Magazine); BATCH],
    len: usize,
}

impl Taken {
    const fn new() -> Self {
        Self { entries: [(None, core::ptr::null_mut()); BATCH], len: 0 }
    }

    fn add(&mut self, class: SizeClass, magazine: *mut Magazine) {
        self.entries[self.len] = (Some(class), magazine);
        self.len += 1;
    }

    /// Ends the sections that may be inside, and hands out what is owned now.
    fn settle(&mut self, mut each: impl FnMut(SizeClass, Hand)) {
        let owned = self.len == 0 || slots::settle();
        for &(class, magazine) in &self.entries[..self.len] {
            let Some(class) = class else { continue };
            if !owned {
                lose(magazine);
            // SAFETY: swapped out of its slot, and no section works on it any more.
            } else if let Some(hand) = unsafe { Hand::from_raw(magazine) } {
                each(class, hand);
            }
        }
        self.len = 0;
    }
}

/// Counts magazines that are in nobody's hands any more.
pub(crate) fn count_lost(magazines: u32) {
    LOST_MAGAZINES.fetch_add(u64::from(magazines), Relaxed);
}

/// What could not be taken over stays where nobody reaches it; that is counted.
fn lose(magazine: *mut Magazine) {
    if !SWITCHED_OFF.swap(true, Relaxed) {
        report(format_args!("the kernel refuses membarrier: what other CPUs cache stays there from now on"));
    }
    LOST_MAGAZINES.fetch_add(1, Relaxed);
    // SAFETY: magazines are type-stable; the count is a hint.
    LOST_OBJECTS.fetch_add(u64::from(unsafe { (*magazine).count() }), Relaxed);
}

/// Takes the magazines out of some slots (`of` a class) of the given cells, and hands each out when it is owned. A slot
/// that somebody is inside of is left alone, or with `patience` waited for; `left` is told the cells of those left alone.
/// Ends early where the kernel refuses membarriers.
pub(crate) fn take<const N: usize>(
    cells: impl Iterator<Item = u32>,
    of: impl Fn(SizeClass) -> [Slot; N],
    patience: bool,
    left: impl Fn(u32),
    mut each: impl FnMut(SizeClass, Hand),
) {
    let mut taken = Taken::new();
    for cell in cells {
        for class in SizeClass::all() {
            for slot in of(class) {
                if SWITCHED_OFF.load(Relaxed) {
                    return taken.settle(each);
                }
                match take_one(cell, slot, patience) {
                    Some(magazine) => taken.add(class, magazine),
                    None if slots::peek_at(cell, slot) != slots::empty() => left(cell),
                    None => {}
                }
                if taken.len == BATCH {
                    taken.settle(&mut each);
                }
            }
        }
    }
    taken.settle(each);
}

/// What a slot holds, taken out of it.
fn take_one(cell: u32, slot: Slot, patience: bool) -> Option<*mut Magazine> {
    loop {
        let taken = slots::take(cell, slot);
        if taken.is_some() || !patience || slots::peek_at(cell, slot) == slots::empty() {
            return taken;
        }
        thread::pause();
    }
}

/// Takes the magazines of the given cells and empties them into the spans. Takes locks: not in atomic context.
fn drain_cells(depot: &Depot, cells: impl Iterator<Item = u32>) {
    take(
        cells,
        |class| [main_slot(class), spare_slot(class)],
        false,
        |_| {},
        |class, magazine| {
            slab::put_all(class, &magazine);
            depot.put_empty(magazine);
        },
    );
}

/// Empties all slots and the depot into the spans, and purges what is free then; returns the bytes purged.
/// Takes locks: not in atomic context.
pub(crate) fn reclaim() -> usize {
    let Some(depot) = depot() else { return 0 };
    slab::marks::apply();
    drain_cells(depot, 0..slots::cells());
    for class in SizeClass::all() {
        while let Some(magazine) = depot.take_full(class) {
            slab::put_all(class, &magazine);
            depot.put_empty(magazine);
        }
        slab::reserve::close(class);
    }
    aside::trim(depot) + slab::purge()
}

/// Notes that this thread's cell had a slow path now; returns its how many-th.
pub(super) fn note_active() -> u64 {
    slots::note_slow_path(slots::cell(), PASSES.load(Relaxed))
}

/// After a decay pass: empties the slots of cells that had no slow path for several passes. A CPU that went offline, or
/// that no thread of this process may use any more, would otherwise keep its magazines for ever. One that is busy with
/// nothing but fast paths pays a refill for it now and then.
pub(super) fn reclaim_idle() {
    let Some(depot) = depot() else { return };
    let now = PASSES.fetch_add(1, Relaxed) + 1;
    let idle = |&cell: &u32| now.wrapping_sub(slots::last_active(cell)) >= IDLE_PASSES;
    let mine = slots::cell();
    drain_cells(
        depot,
        (0..slots::cells()).filter(|&cell| cell != mine).filter(idle).inspect(|&cell| {
            slots::note_active(cell, now); // not again before as many passes have gone by
        }),
    );
}

#[cfg(all(test, gracealloc_rseq))]
mod tests {
    use super::*;
    use crate::GraceAlloc;
    use crate::platform::membarrier;
    use crate::platform::slots::Mode;
    use core::alloc::{GlobalAlloc, Layout};

    #[test]
    fn what_a_refused_membarrier_leaves_unowned_is_lost_and_counted() {
        let layout = Layout::from_size_align(3000, 8).unwrap(); // a class that no other test here uses
        // SAFETY: the layout has a size; each object is freed once.
        unsafe { GraceAlloc.dealloc(GraceAlloc.alloc(layout), layout) };
        if slots::mode() != Some(Mode::Rseq) {
            return; // without sections there is no membarrier to refuse
        }
        let class = SizeClass::of(layout).unwrap();
        let slot = main_slot(class);
        let cell = (0..slots::cells()).find(|&cell| slots::peek_at(cell, slot) != slots::empty()).unwrap();
        let (magazines, objects) = (LOST_MAGAZINES.load(Relaxed), LOST_OBJECTS.load(Relaxed));
        let mut taken = Taken::new();
        taken.add(class, slots::take(cell, slot).unwrap());
        membarrier::refuse(true);
        taken.settle(|_, _| panic!("handed out although a section may still be inside"));
        assert!(SWITCHED_OFF.load(Relaxed), "no remote take after that");
        drain_cells(depot().unwrap(), 0..slots::cells());
        membarrier::refuse(false);
        SWITCHED_OFF.store(false, Relaxed);
        assert_eq!(LOST_MAGAZINES.load(Relaxed), magazines + 1, "and none was taken after that");
        assert!(LOST_OBJECTS.load(Relaxed) > objects);
    }
}
