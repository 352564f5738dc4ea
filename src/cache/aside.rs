//! Magazines that nobody needs: set aside, so that the memory they stand in can go back to the system.
//!
//! A burst of deferrals takes an eighth of its objects' size in magazines. They are type-stable: their addresses stay
//! mapped for ever, since stale readers may look at them. But a page of zeros is as good for those: zero is an empty
//! magazine without capacity, and a stack's tag tells that a link read there is an old one.
//!
//! ```text
//!   magazines   | 17 | 18 | 19 | 20 | 21 | 22 |          in the arena, two to a page
//!   aside          0    1    1    1    1    0            a bit by number
//!   pages       |      P0      | P1  |     P2   |        P1 has only magazines that are aside: purged
//! ```
//!
//! Invariants:
//! - A magazine whose bit is set is nobody's: on no stack, in no slot, in no hand.
//! - Pages are purged, and bits set and cleared, under the lock.

use super::depot::Depot;
use super::magazines::{self, Hand};
use crate::platform::lock::Lock;
use crate::platform::memory;
use crate::tagged_stack::INDEX_BITS;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

const WORDS: usize = (1 << INDEX_BITS) / 64;
/// Under the lock so many magazines are purged at most: about a mebibyte of them.
const RUN: u32 = 512;
/// Left in a shard at every decay pass, on top of the low-water mark.
const CUSHION: u32 = 32;

/// A bit for each magazine by its number; mapped when the first is set aside.
struct Aside {
    bits: Option<&'static mut [u64]>,
    /// No bit is set below this word.
    from: usize,
}

static ASIDE: Lock<Aside> = Lock::new(Aside { bits: None, from: 0 });
/// How many are aside; zero is all that most callers have to know.
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Magazines that are aside.
pub(super) fn count() -> u32 {
    COUNT.load(Relaxed)
}

/// Takes one back, if there is one. Takes a lock: not in atomic context.
pub(super) fn take() -> Option<Hand> {
    if count() == 0 {
        return None;
    }
    let mut aside = ASIDE.lock();
    let from = aside.from;
    let bits = aside.bits.as_deref_mut()?;
    let word = from + bits[from..].iter().position(|&word| word != 0)?;
    let bit = bits[word].trailing_zeros();
    bits[word] &= bits[word] - 1;
    aside.from = word;
    COUNT.fetch_sub(1, Relaxed);
    // SAFETY: its bit was set, so it was nobody's, and now is ours.
    Some(unsafe { Hand::anew(word as u32 * 64 + bit) })
}

/// Sets aside the empty magazines that no shard needs (but for a cushion, and half of what is above it), and purges the
/// pages that have no others. Takes locks: not in atomic context.
pub(super) fn decay(depot: &Depot) {
    let surplus = depot.count_surplus(CUSHION) / 2;
    if surplus != 0 {
        set_aside(depot, CUSHION, surplus);
    }
}

/// As [`decay`], all that is above the reserve; returns the bytes purged.
pub(super) fn trim(depot: &Depot) -> usize {
    set_aside(depot, 0, u32::MAX)
}

fn set_aside(depot: &Depot, cushion: u32, most: u32) -> usize {
    let mut put = 0;
    while put < most
        && let Some(magazine) = depot.take_surplus(cushion)
    {
        if let Err(magazine) = put_one(magazine) {
            depot.put_empty(magazine); // no memory for the bits
            break;
        }
        put += 1;
    }
    if put == 0 { 0 } else { purge() }
}

fn put_one(magazine: Hand) -> Result<(), Hand> {
    let mut aside = ASIDE.lock();
    let Some(bits) = bits(&mut aside) else { return Err(magazine) };
    let (word, bit) = (magazine.index() as usize / 64, magazine.index() % 64);
    bits[word] |= 1 << bit;
    aside.from = aside.from.min(word);
    COUNT.fetch_add(1, Relaxed);
    Ok(())
}

fn bits(aside: &mut Aside) -> Option<&mut [u64]> {
    if aside.bits.is_none() {
        let at = memory::map(WORDS * 8)?;
        // SAFETY: mapped zero pages of that size, which nobody else knows and which stay.
        aside.bits = Some(unsafe { core::slice::from_raw_parts_mut(at.cast().as_ptr(), WORDS) });
        aside.from = WORDS;
    }
    aside.bits.as_deref_mut()
}

/// Purges whatever pages have nothing but magazines that are aside; returns their bytes.
fn purge() -> usize {
    let (mut next, mut bytes) = (1, 0);
    while next <= magazines::last() {
        let mut aside = ASIDE.lock(); // for each run anew: takers need not wait for all of it
        let Some(bits) = bits(&mut aside) else { break };
        let is_aside = |number: u32| bits[number as usize / 64] >> (number % 64) & 1 == 1;
        let end = (next..=magazines::last()).take(RUN as usize).find(|&number| !is_aside(number));
        let end = end.unwrap_or(magazines::last().min(next + RUN - 1) + 1);
        // SAFETY: magazines that are nobody's as long as the lock is held; zero is one that is empty.
        bytes += unsafe { magazines::purge(next..end) };
        next = end + u32::from(end - next < RUN);
    }
    bytes
}

/// Takes the lock, for fork.
pub(super) fn lock() {
    core::mem::forget(ASIDE.lock());
}

/// Leaves it again.
///
/// # Safety
/// - This thread called [`lock`].
pub(super) unsafe fn unlock() {
    // SAFETY: handed on to the caller.
    unsafe { ASIDE.unlock() };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GraceAlloc;
    use core::alloc::{GlobalAlloc, Layout};

    #[test]
    fn a_magazine_that_was_set_aside_is_as_good_as_new() {
        let layout = Layout::new::<[u64; 4]>();
        // SAFETY: the layout has a size; freed once. From here on there is a depot.
        unsafe { GraceAlloc.dealloc(GraceAlloc.alloc(layout), layout) };
        let depot = super::super::depot::depot().unwrap();
        let many: Vec<_> = (0..300).map(|_| Hand::make().unwrap()).collect();
        let numbers: Vec<_> = many.iter().map(|magazine| magazine.index()).collect();
        many.into_iter().for_each(|magazine| {
            magazine.set_capacity(4);
            depot.put_empty(magazine);
        });
        let _section = crate::slow_path::SlowPath::enter(); // what the allocator does meanwhile, it does elsewhere
        assert!(trim(depot) > 0 || cfg!(miri));
        let again: Vec<_> = std::iter::from_fn(take).collect();
        assert!(again.iter().all(|magazine| magazine.is_empty() && magazine.index() != 0));
        let found = again.iter().filter(|magazine| numbers.contains(&magazine.index()));
        assert!(found.clone().count() > 100, "other tests may have taken some");
        assert!(
            cfg!(miri) || found.filter(|magazine| magazine.capacity() == 0).count() > 50,
            "their pages were purged"
        );
        again.into_iter().for_each(|magazine| depot.put_empty(magazine));
    }
}
