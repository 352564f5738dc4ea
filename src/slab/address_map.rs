//! From an address to what lives there: the class of the objects, the segment around it, or the record of the large object
//! that starts there.
//!
//! ```text
//!   address  | 13 bits: root | 13 bits: region | 10 bits: page | 12 bits |
//!                  |                |                 |
//!   ROOT --------> * --> Leaf ----> * segment         |
//!                         |         * starts --> [record number; 1024]
//!                         |
//!                         +-------> [class; 2^20], one byte a unit
//! ```
//!
//! The class alone is what a free without a layout wants to know. It has bytes of its own, so that two loads find it; a leaf's
//! are a mebibyte of addresses, of which 128 bytes a segment are touched. Who asks owns an object there, so the byte was written
//! before he got the object and changes after he gave it away.
//!
//! A region is as large as a segment, and a segment fills its region, so one look-up answers. Large objects are longer
//! than a page, so no two of them start in one. Nodes are mapped on demand and stay; reading takes no lock.

use super::segment::{SEGMENT_BYTES, Segment, UNIT_BYTES};
use crate::platform::lock::Lock;
use crate::platform::memory;
use core::ptr::{self, NonNull};
use core::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

const REGION_SHIFT: u32 = SEGMENT_BYTES.ilog2();
const UNIT_SHIFT: u32 = UNIT_BYTES.ilog2();
const PAGE_SHIFT: u32 = 12;
const LEAF_BITS: u32 = 13;
const ROOT_BITS: u32 = 13;
/// User addresses have no more bits than this unless a program asks the kernel for larger ones.
const ADDRESS_BITS: u32 = REGION_SHIFT + LEAF_BITS + ROOT_BITS;
const _: () = assert!(ADDRESS_BITS == 48);

struct Region {
    segment: AtomicPtr<Segment>,
    starts: AtomicPtr<Starts>,
}

struct Leaf {
    regions: [Region; 1 << LEAF_BITS],
    classes: [AtomicU8; 1 << (LEAF_BITS + REGION_SHIFT - UNIT_SHIFT)],
}

type Starts = [AtomicU32; 1 << (REGION_SHIFT - PAGE_SHIFT)];

static ROOT: [AtomicPtr<Leaf>; 1 << ROOT_BITS] = [const { AtomicPtr::new(ptr::null_mut()) }; 1 << ROOT_BITS];
static GROWTH: Lock<()> = Lock::new(());

/// The number of the class whose objects are around an address: 0 for none, `None` where there never were any far and wide.
#[inline(always)]
pub(super) fn class(address: usize) -> Option<u8> {
    Some(leaf(address)?.class(address).load(Relaxed))
}

/// Sets the class of a unit in a region that has a segment.
pub(super) fn set_class(address: usize, class: u8) {
    if let Some(leaf) = leaf(address) {
        leaf.class(address).store(class, Relaxed);
    }
}

/// The segment around an address.
pub(super) fn segment(address: usize) -> Option<&'static Segment> {
    let at = region(address)?.segment.load(Acquire); // Acquire: pairs with `set_segment`
    // SAFETY: null or a record of the segment arena, which is type-stable.
    unsafe { at.as_ref() }
}

/// Makes `segment` the answer for its region, or no segment. False without memory for the node.
pub(super) fn set_segment(address: usize, segment: Option<&'static Segment>) -> bool {
    let Some(region) = region_made(address, &mut None) else { return false };
    let at = segment.map_or(ptr::null_mut(), |s| ptr::from_ref(s).cast_mut());
    region.segment.store(at, Release); // Release: pairs with the Acquire in `segment`
    true
}

/// The record number of the large object that starts at this address, 0 for none.
pub(super) fn start(address: usize) -> u32 {
    existing(address).map_or(0, |start| start.load(Acquire)) // Acquire: pairs with `set_start`
}

/// Makes room for a large object that starts at this address; false without memory.
pub(super) fn ensure_start(address: usize) -> bool {
    region_made(address, &mut None).is_some_and(|region| node(&region.starts, &mut None).is_some())
}

/// Sets the record number of the object that starts at this address, 0 for none. False where there is no room.
pub(super) fn set_start(address: usize, record: u32) -> bool {
    // Release: pairs with the Acquire in `start`.
    existing(address).inspect(|start| start.store(record, Release)).is_some()
}

fn existing(address: usize) -> Option<&'static AtomicU32> {
    let starts = region(address)?.starts.load(Acquire); // Acquire: pairs with `node`
    // SAFETY: null or a node that is never unmapped.
    let starts = unsafe { starts.as_ref()? };
    Some(&starts[(address >> PAGE_SHIFT) % starts.len()])
}

#[inline(always)]
fn leaf(address: usize) -> Option<&'static Leaf> {
    let leaf = ROOT.get(address >> (REGION_SHIFT + LEAF_BITS))?.load(Acquire); // Acquire: pairs with `node`
    // SAFETY: null or a node that is never unmapped.
    unsafe { leaf.as_ref() }
}

impl Leaf {
    #[inline(always)]
    fn class(&self, address: usize) -> &AtomicU8 {
        &self.classes[(address >> UNIT_SHIFT) % self.classes.len()]
    }

    fn region(&self, address: usize) -> &Region {
        &self.regions[(address >> REGION_SHIFT) % self.regions.len()]
    }
}

fn region(address: usize) -> Option<&'static Region> {
    Some(leaf(address)?.region(address))
}

fn region_made(address: usize, spare: &mut Option<NonNull<Leaf>>) -> Option<&'static Region> {
    Some(node(ROOT.get(address >> (REGION_SHIFT + LEAF_BITS))?, spare)?.region(address))
}

/// The node behind a pointer; if there is none, the spare one is put there, or a new one.
fn node<T>(at: &AtomicPtr<T>, spare: &mut Option<NonNull<T>>) -> Option<&'static T> {
    // Acquire, twice: pairs with the Release below, for the zero pages of the node.
    if at.load(Acquire).is_null() {
        let _growing = GROWTH.lock();
        if at.load(Relaxed).is_null() {
            let node = spare.take().or_else(|| memory::for_ever(size_of::<T>()).map(NonNull::cast))?;
            at.store(node.as_ptr(), Release); // zero pages: nothing is there yet
        }
    }
    // SAFETY: a node of null pointers or zeros at first, made of atomics, never unmapped.
    Some(unsafe { &*at.load(Acquire) })
}

/// How many nodes of each kind are kept for movers. With fewer than there are movers at a time, each maps and unmaps what
/// it does not need.
const SPARES: usize = 8;

type Spares<T> = [AtomicPtr<T>; SPARES];

static LEAVES: Spares<Leaf> = [const { AtomicPtr::new(ptr::null_mut()) }; SPARES];
static STARTS: Spares<Starts> = [const { AtomicPtr::new(ptr::null_mut()) }; SPARES];

/// One node of each kind, in hand for an object that is about to move; what is not used is kept for the next. Not even a
/// lock: a mover that is interrupted holds nobody up.
pub(super) struct Nodes {
    leaf: Option<NonNull<Leaf>>,
    starts: Option<NonNull<Starts>>,
}

impl Nodes {
    /// One of each, or `None` without memory.
    pub(super) fn take() -> Option<Self> {
        let nodes = Self { leaf: spare(&LEAVES), starts: spare(&STARTS) };
        (nodes.leaf.is_some() && nodes.starts.is_some()).then_some(nodes)
    }

    /// As [`ensure_start`], and cannot fail for want of memory.
    pub(super) fn ensure_start(&mut self, address: usize) -> bool {
        region_made(address, &mut self.leaf).is_some_and(|region| node(&region.starts, &mut self.starts).is_some())
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        keep(&LEAVES, self.leaf.take());
        keep(&STARTS, self.starts.take());
    }
}

/// A node that was kept, or a new one.
fn spare<T>(spares: &Spares<T>) -> Option<NonNull<T>> {
    // Relaxed, here and in `keep`: nobody has written to a node that is kept.
    let kept = spares.iter().find_map(|place| NonNull::new(place.swap(ptr::null_mut(), Relaxed)));
    kept.or_else(|| memory::map(size_of::<T>()).map(NonNull::cast))
}

/// Keeps an unused node where there is a place for it, else unmaps it.
fn keep<T>(spares: &Spares<T>, node: Option<NonNull<T>>) {
    let Some(node) = node else { return };
    let vacant =
        |place: &AtomicPtr<T>| place.compare_exchange(ptr::null_mut(), node.as_ptr(), Relaxed, Relaxed).is_ok();
    if !spares.iter().any(vacant) {
        // SAFETY: came from `map` with this size, and nobody has seen it.
        unsafe { memory::unmap(node.cast().as_ptr(), memory::layout_of(size_of::<T>())) }
    }
}

/// Takes the lock of this file, for fork.
pub(super) fn lock_all() {
    core::mem::forget(GROWTH.lock());
}

/// Leaves it again.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(super) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    unsafe { GROWTH.unlock() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_address_has_neither_segment_nor_start() {
        for address in [0, 1, 1 << 30, (1 << ADDRESS_BITS) - 1, 1 << ADDRESS_BITS, usize::MAX] {
            assert!(segment(address).is_none());
            assert_eq!((start(address), class(address)), (0, None));
        }
        assert!(!ensure_start(1 << ADDRESS_BITS), "beyond the map");
    }

    #[test]
    #[cfg(gracealloc_rseq)] // where there is a kernel to ask
    fn what_movers_had_in_hand_is_kept_as_far_as_there_is_room() {
        let node = || memory::map(size_of::<Starts>()).map(NonNull::cast::<Starts>);
        // SAFETY: asks about a page, and changes nothing.
        let is_mapped = |at: NonNull<Starts>| unsafe { libc::msync(at.as_ptr().cast(), 1, libc::MS_ASYNC) == 0 };
        // Another test may map something at the same address at once; not every time.
        let unmapped = (0..20).any(|_| {
            let spares: Spares<Starts> = Default::default();
            let (kept, last) = ([(); SPARES].map(|()| node()), node());
            kept.iter().for_each(|&node| keep(&spares, node));
            keep(&spares, last);
            assert!(kept.iter().all(|node| is_mapped(node.unwrap())));
            assert!(kept.iter().all(|&node| spare(&spares) == node), "they come back");
            !is_mapped(last.unwrap())
        });
        assert!(unmapped, "the last has no place and must go");
    }

    #[test]
    fn a_class_is_found_in_its_unit_alone() {
        let unit = 0x2345_6780_8000; // nothing of this process lives there
        set_class(unit, 7); // no node yet: nothing happens
        assert_eq!(class(unit), None);
        assert!(ensure_start(unit));
        set_class(unit, 7);
        let around = [unit - 1, unit, unit + UNIT_BYTES - 1, unit + UNIT_BYTES];
        assert_eq!(around.map(class), [0, 7, 7, 0].map(Some));
    }

    #[test]
    fn a_start_is_found_at_its_page_alone() {
        let address = 0x1234_5678_9000; // nothing of this process lives there
        assert!(!set_start(address, 7), "no node yet");
        assert!(ensure_start(address) && set_start(address, 7));
        assert_eq!((start(address), start(address + 64)), (7, 7));
        assert_eq!((start(address - 1), start(address + 4096)), (0, 0));
        set_start(address, 0);
        assert_eq!(start(address), 0);
    }
}
