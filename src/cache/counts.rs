//! What this layer counts: sums over slots and depot, taken when they are asked for.

use super::depot::depot;
use super::{magazines, main_slot, remote, spare_slot};
use crate::platform::slots;
use crate::size_class::SizeClass;
use crate::slab;
use core::sync::atomic::Ordering::Relaxed;

/// Magazines by place.
#[derive(Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) made: u64,
    /// Of those.
    pub(crate) bytes: u64,
    pub(crate) in_slots: u64,
    pub(crate) in_depot: u64,
    pub(crate) empty: u64,
    pub(crate) lost: u64,
    pub(crate) slow_paths: u64,
    pub(crate) lost_objects: u64,
}

/// A look at the counters, each by itself.
pub(crate) fn counts() -> Counts {
    let Some(depot) = depot() else { return Counts::default() };
    let (made, bytes) = magazines::made();
    Counts {
        made: u64::from(made),
        bytes: bytes as u64,
        in_slots: SizeClass::all().map(|class| in_slots(class).0).sum(),
        in_depot: SizeClass::all().map(|class| u64::from(depot.count_full(class))).sum(),
        empty: u64::from(depot.count_empty()),
        slow_paths: (0..slots::cells()).map(slots::slow_paths).sum(),
        lost: remote::LOST_MAGAZINES.load(Relaxed),
        lost_objects: remote::LOST_OBJECTS.load(Relaxed),
    }
}

/// Objects of a class in slots, depot and reserve.
pub(crate) fn cached_objects(class: SizeClass) -> u64 {
    in_slots(class).1 + u64::from(slab::reserve::left(class)) + depot().map_or(0, |depot| depot.count_objects(class))
}

/// Magazines of a class in slots, and their objects.
fn in_slots(class: SizeClass) -> (u64, u64) {
    let (mut magazines, mut objects) = (0, 0);
    for cell in 0..slots::cells() {
        for slot in [main_slot(class), spare_slot(class)] {
            let magazine = slots::peek_at(cell, slot);
            if magazine != slots::empty() {
                magazines += 1;
                // SAFETY: slots hold magazines, which are type-stable; the count is a hint.
                objects += u64::from(unsafe { (*magazine).count() });
            }
        }
    }
    (magazines, objects)
}
