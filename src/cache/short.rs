//! Short magazines: one for each class, for its first objects.
//!
//! ```text
//!   class 1                        class 2                        ...      class 72                       room behind
//!   | header | 28 objects |        | header | 28 objects |                 | header | 28 objects |        | ...      |
//!   ^ 256 bytes each; seen as a magazine of 260 objects it reaches into its neighbours, where its capacity keeps it out
//! ```

use crate::platform::magazine::{HEADER_BYTES, MAGAZINE_BYTES, OBJECTS};
use crate::platform::{Magazine, slots};
use crate::size_class::{CLASSES, SizeClass};
use crate::tagged_stack::INDEX_BITS;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Size of a short magazine, in bytes.
pub(super) const BYTES: usize = 256;
/// How many objects fit one.
const FITTING: usize = (BYTES - HEADER_BYTES) / 8;
/// The bit in its number that tells it from others; below it stands its class.
const SHORT: u32 = 1 << (INDEX_BITS - 1);

/// The last one, too, is seen as a magazine: there is room for all of it.
#[repr(align(64))]
struct All(UnsafeCell<[u8; CLASSES * BYTES + MAGAZINE_BYTES]>);

// SAFETY: reached as magazines alone, which are atomics.
unsafe impl Sync for All {}

static ALL: All = All(UnsafeCell::new([0; CLASSES * BYTES + MAGAZINE_BYTES]));
static TAKEN: [AtomicBool; CLASSES] = [const { AtomicBool::new(false) }; CLASSES];
static IN_USE: AtomicU32 = AtomicU32::new(0);

/// Whether this is the number of a short magazine.
pub(super) fn is_number(number: u32) -> bool {
    number & SHORT != 0
}

/// The short magazine with this number.
pub(super) fn magazine(number: u32) -> &'static Magazine {
    let class = (number & !SHORT) as usize;
    debug_assert!(class < CLASSES);
    // SAFETY: that many bytes and a magazine's more are there, zeroed at first and aligned: a valid magazine. It overlaps with
    // its neighbours, but all are atomics, and objects above the capacity are not touched.
    unsafe { &*ALL.0.get().cast::<u8>().add(class * BYTES).cast() }
}

/// The class's, if nobody has had it yet: empty, of this cell, with its capacity. Never blocks.
pub(super) fn first(class: SizeClass) -> Option<&'static Magazine> {
    let taken = &TAKEN[class.index()];
    // Relaxed, twice: who takes it finds it as the program was loaded.
    if taken.load(Relaxed) || taken.swap(true, Relaxed) {
        return None;
    }
    let number = SHORT | class.index() as u32;
    let magazine = magazine(number);
    magazine.set_index(number);
    magazine.set_capacity(super::capacity(class).min(FITTING.min(OBJECTS) as u32));
    magazine.set_home(slots::cell());
    IN_USE.fetch_add(1, Relaxed);
    Some(magazine)
}

/// Counts one off that will not be used again.
pub(super) fn retire() {
    IN_USE.fetch_sub(1, Relaxed);
}

/// Those that were taken and have not retired.
pub(super) fn in_use() -> u32 {
    IN_USE.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Hand, store};
    use crate::slow_path::SlowPath;

    #[test]
    fn a_short_magazine_serves_once_and_keeps_to_its_room() {
        let class = SizeClass::all().last().unwrap(); // no other test here has objects of this one
        let below = SizeClass::from_index(class.index() - 1);
        let Some(hand) = Hand::first(class) else { return };
        assert!(hand.is_short() && Hand::first(class).is_none(), "once");
        assert!(hand.capacity() as usize <= FITTING && hand.capacity() <= super::super::capacity(class));
        let neighbour = magazine(SHORT | below.index() as u32);
        assert_eq!(hand.as_raw().addr() - core::ptr::from_ref(neighbour).addr(), BYTES);
        let before = in_use();
        store(class, hand, &SlowPath::enter()); // before the depot is there, nowhere
        assert!(in_use() <= before);
    }
}
