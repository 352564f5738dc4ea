//! The region: the memory of all cells, and what is known of it.
//!
//! ```text
//!            extra cell           outside, -2 and -1    cell of CPU 0        cell of CPU 1
//!            +----------------+   +----------------+    +----------------+   +----------------+
//!            | main   [class] |   | EMPTY          | x2 | main   [class] |   | main   [class] |  ...
//!            | spare  [class] |   | EMPTY          |    | spare  [class] |   | spare  [class] |
//!            +----------------+   +----------------+    +----------------+   +----------------+
//!            4096 bytes each; a slot is one word, the address of a magazine, never null; at the end of a cell stand counts
//!            (`readers`, `slots`); behind the last CPU's cell are addresses without memory
//! ```
//!
//! The mode is chosen once per process: restartable sequences if glibc registered them, the kernel said how long its CPU masks
//! are, *and* it accepted the registration of membarrier's matching command, else the try-lock of `locked`. In the first mode
//! there is a cell for each CPU; in the second the cells are shards, and the extra cell and those outside are not there.
//!
//! Invariants:
//! - Every slot of every cell holds a magazine that may be dereferenced from the moment `Ready` or the mode is visible;
//!   magazines are type-stable, so this stays true for whatever pointer a section reads.
//! - No CPU number that the kernel can give leads out of the region. One above the highest possible, which the kernel
//!   promises never to give, leads to an address without memory, and that ends the process.

use super::fatal::fatal;
use super::magazine::{EMPTY, Magazine};
use super::sync::{
    AtomicPtr,
    Ordering::{Relaxed, Release},
};
use super::{cpu, membarrier, memory, rseq};
use core::ptr;
use once_cell::race::OnceRef;

/// Bytes from one cell to the next.
pub(crate) const CELL_BYTES: usize = 4096;

/// The last words of a cell are no slots.
pub(super) const NO_SLOTS: usize = 2;

/// Where the counts of readers stand in a cell: on the cache line in front of the last one.
pub(super) const RECORD: usize = CELL_BYTES - 128;

/// Which slot of a cell, as its offset in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u16);

impl Slot {
    /// The `n`-th slot of every cell.
    #[inline(always)]
    pub(crate) const fn new(n: usize) -> Self {
        debug_assert!(n < CELL_BYTES / 8);
        Self((n * 8) as u16)
    }

    /// Its distance from the start of the cell, in bytes.
    #[inline(always)]
    pub(super) const fn offset(self) -> usize {
        self.0 as usize
    }
}

const _: () = assert!(CELL_BYTES == 1 << rseq::CELL_SHIFT);

/// The region with its geometry, once per process.
pub(super) static REGION: OnceRef<'static, Region> = OnceRef::new();

/// How the slots of this process are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Restartable sequences.
    Rseq,
    /// A try-lock per slot.
    Locked,
}

pub(super) struct Region {
    /// The first CPU's cell, or the first shard.
    pub(super) base: *mut u8,
    /// The extra cell where there is one, else null.
    pub(super) extra: *mut u8,
    pub(super) cells: u32,
    pub(super) mode: Mode,
    /// Distance of the rseq area from the thread pointer, where that is the mode.
    pub(super) offset: isize,
}

// SAFETY: fixed after construction; what it points to is made of atomics.
unsafe impl Sync for Region {}

/// Sets the region up if that has not happened. False when there is no memory for it.
///
/// `slots`: how many each cell has; `shards`: cells of the fallback, 0 for one per possible CPU; `want_rseq`: false keeps
/// the fallback. Threads may race through here; all get the winner's region. Nothing blocks.
pub(crate) fn init(slots: usize, shards: u32, want_rseq: bool) -> bool {
    let end = place_of_description(slots) + size_of::<Region>();
    debug_assert!(end <= RECORD, "no room for all that a cell holds");
    if REGION.get().is_some() {
        return true;
    }
    let Some(region) = build(slots, shards, want_rseq) else { return false };
    if REGION.set(region).is_err() {
        return true; // lost the race; the loser's few pages stay mapped, once per racing thread at most
    }
    publish(region);
    true
}

/// Maps a region: for sections if they can be used, else for shards.
fn build(slots: usize, shards: u32, want_rseq: bool) -> Option<&'static Region> {
    let sections = if want_rseq { sections() } else { None };
    sections.and_then(|sections| for_cpus(slots, sections)).or_else(|| for_shards(slots, shards))
}

fn for_cpus(slots: usize, Sections { offset, numbers }: Sections) -> Option<&'static Region> {
    let (front, cpus) = (1 + rseq::OUTSIDE, numbers.possible as usize);
    let extra = map_cells(slots, front + cpus, numbers.bound as usize - cpus)?;
    let base = extra.wrapping_add(front * CELL_BYTES);
    let region = Region { base, extra, cells: numbers.possible + 1, mode: Mode::Rseq, offset };
    // SAFETY: the first of the cells just mapped.
    Some(unsafe { describe(extra, slots, region) })
}

fn for_shards(slots: usize, shards: u32) -> Option<&'static Region> {
    let cells = if shards == 0 { cpu::possible() } else { shards };
    let base = map_cells(slots, cells as usize, 0)?;
    let region = Region { base, extra: ptr::null_mut(), cells, mode: Mode::Locked, offset: 0 };
    // SAFETY: the first of the cells just mapped.
    Some(unsafe { describe(base, slots, region) })
}

/// Cells whose every slot is EMPTY (the rest of each is untouched), and the addresses of others that are not there.
fn map_cells(slots: usize, cells: usize, absent: usize) -> Option<*mut u8> {
    let start = memory::map_in_front(cells * CELL_BYTES, absent * CELL_BYTES)?.as_ptr();
    for n in (0..cells * CELL_BYTES / 8).filter(|n| n % (CELL_BYTES / 8) < slots) {
        // SAFETY: inside the mapping just made, which nobody else knows yet.
        unsafe { start.cast::<AtomicPtr<Magazine>>().add(n).write(AtomicPtr::new(empty())) };
    }
    Some(start)
}

/// Where a region's description stands in its first cell: behind the slots, on a cache line of its own.
const fn place_of_description(slots: usize) -> usize {
    (slots * 8).next_multiple_of(64)
}

/// # Safety
/// - `first` is a region's first cell, which nobody else knows yet.
unsafe fn describe(first: *mut u8, slots: usize, region: Region) -> &'static Region {
    // SAFETY: the cell has room there, see `init`, and is never unmapped.
    unsafe {
        let place = first.add(place_of_description(slots)).cast::<Region>();
        place.write(region);
        &*place
    }
}

fn publish(region: &Region) {
    if region.mode == Mode::Rseq {
        let ready = rseq::ready();
        ready.offset.store(region.offset, Relaxed);
        ready.base.store(region.base, Release); // Release: pairs with the Acquire in `slots::access`
    }
}

/// What sections need to know of this process.
struct Sections {
    /// Distance of the rseq area from the thread pointer.
    offset: isize,
    numbers: cpu::Numbers,
}

/// `None` where sections cannot be used.
fn sections() -> Option<Sections> {
    let offset = rseq::area_offset()?;
    let numbers = cpu::numbers()?;
    membarrier::register().then_some(Sections { offset, numbers })
}

/// The magazine that stands in a slot which has none.
#[inline(always)]
pub(crate) fn empty() -> *mut Magazine {
    (&raw const EMPTY).cast_mut()
}

/// The chosen mode; `None` before [`init`].
pub(crate) fn mode() -> Option<Mode> {
    REGION.get().map(|r| r.mode)
}

/// Number of cells, the extra one included; 0 before [`init`].
pub(crate) fn cells() -> u32 {
    REGION.get().map_or(0, |r| r.cells)
}

/// A slot of any cell. After [`init`].
pub(super) fn word(cell: u32, slot: Slot) -> &'static AtomicPtr<Magazine> {
    // SAFETY: slots are inside their cell, and hold magazines.
    unsafe { &*at(cell, slot.offset()).cast() }
}

/// The address so many bytes into any cell. After [`init`].
pub(super) fn at(cell: u32, offset: usize) -> *mut u8 {
    let Some(region) = REGION.get() else { fatal("slots are used before init", ptr::null(), None) };
    let is_extra = region.mode == Mode::Rseq && cell + 1 == region.cells;
    let start = if is_extra { region.extra } else { region.base.wrapping_add(cell as usize * CELL_BYTES) };
    start.wrapping_add(offset)
}

#[cfg(all(test, gracealloc_rseq))]
mod tests {
    use super::*;
    use crate::GraceAlloc;
    use core::alloc::{GlobalAlloc, Layout};

    #[test]
    fn who_has_no_cpu_number_finds_nothing_and_no_room() {
        let layout = Layout::new::<[u64; 4]>();
        // SAFETY: the layout has a size; freed once. From here on there is a region.
        unsafe { GraceAlloc.dealloc(GraceAlloc.alloc(layout), layout) };
        let region = REGION.get().unwrap();
        if region.mode != Mode::Rseq {
            return;
        }
        for id in [-2, -1] {
            let cell = region.base.wrapping_offset(id * CELL_BYTES as isize).cast::<*const Magazine>();
            // SAFETY: cells outside, which nobody writes.
            let slots = unsafe { core::slice::from_raw_parts(cell, 100) };
            assert!(slots.iter().all(|&slot| slot == empty().cast_const()), "{id}");
        }
        assert_eq!((EMPTY.count(), EMPTY.capacity()), (0, 0));
    }
}
