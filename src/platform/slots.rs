//! Slots: per-CPU cells that each hold one magazine, and the choice of how they are worked on.
//!
//! ```text
//!   region   extra cell           outside, -2 and -1    cell of CPU 0        cell of CPU 1
//!            +----------------+   +----------------+    +----------------+   +----------------+
//!            | main   [class] |   | EMPTY          | x2 | main   [class] |   | main   [class] |  ...
//!            | spare  [class] |   | EMPTY          |    | spare  [class] |   | spare  [class] |
//!            +----------------+   +----------------+    +----------------+   +----------------+
//!            4096 bytes each; a slot is one word, the address of a magazine, never null; behind the last CPU's cell are
//!            addresses without memory
//! ```
//!
//! The mode is chosen once per process: restartable sequences if glibc registered them, the kernel said how long its CPU masks
//! are, *and* it accepted the registration of membarrier's matching command, else the try-lock of `locked`. In the first mode a thread without a CPU
//! number finds nothing and no room in the cells outside, which stay EMPTY for ever, and then works on the extra cell under
//! that cell's locks; in the second the cells are shards, each thread keeps one, and the others are not there.
//!
//! The fast paths read `Ready` and nothing else that is shared; it is written once, alone on its cache lines.
//!
//! Invariants:
//! - Every slot of every cell holds a magazine that may be dereferenced from the moment `Ready` or the mode is visible;
//!   magazines are type-stable, so this stays true for whatever pointer a section reads.
//! - No CPU number that the kernel can give leads out of the region. One above the highest possible, which the kernel
//!   promises never to give, leads to an address without memory, and that ends the process.

use super::fatal::fatal;
use super::locked::{self, Pop, Push, Replace};
use super::magazine::{EMPTY, Magazine};
use super::sync::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use super::{cpu, membarrier, memory, rseq};
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64};
use once_cell::race::OnceRef;

/// Bytes from one cell to the next.
pub(crate) const CELL_BYTES: usize = 4096;

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
}

/// The region with its geometry, once per process.
static REGION: OnceRef<'static, Region> = OnceRef::new();

/// Threads that asked for a shard, so that each gets the next.
static NEXT_SHARD: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// This thread's shard; null before it has one, and where cells are CPUs. No destructor, no lazy part: usable at any
    /// time.
    static SHARD: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// How the slots of this process are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Restartable sequences.
    Rseq,
    /// A try-lock per slot.
    Locked,
}

struct Region {
    /// The first CPU's cell, or the first shard.
    base: *mut u8,
    /// The extra cell where there is one, else null.
    extra: *mut u8,
    cells: u32,
    mode: Mode,
    /// Distance of the rseq area from the thread pointer, where that is the mode.
    offset: isize,
}

// SAFETY: fixed after construction; what it points to is made of atomics.
unsafe impl Sync for Region {}

/// Sets the region up if that has not happened. False when there is no memory for it.
///
/// `slots`: how many each cell has; `shards`: cells of the fallback, 0 for one per possible CPU; `want_rseq`: false keeps
/// the fallback. Threads may race through here; all get the winner's region. Nothing blocks.
pub(crate) fn init(slots: usize, shards: u32, want_rseq: bool) -> bool {
    let end = place_of_description(slots) + size_of::<Region>();
    debug_assert!(end <= SLOW_PATHS.0 as usize, "no room for all that a cell holds");
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
        ready.base.store(region.base, Release); // Release: pairs with the Acquire in `access`
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

/// The fast pop: an object, or null if there is none here or restartable sequences are not in use (yet).
///
/// # Safety
/// - `slot` is one of those the region was laid out for.
#[inline(always)]
pub(crate) unsafe fn pop(slot: Slot) -> *mut u8 {
    match access(slot) {
        // SAFETY: `Ready` describes the region, whose slots all hold magazines.
        Some(access) => unsafe { rseq::pop(access) },
        None => ptr::null_mut(),
    }
}

/// The fast push: false if the magazine is full or restartable sequences are not in use (yet).
///
/// # Safety
/// - As for [`pop`].
#[inline(always)]
pub(crate) unsafe fn push(slot: Slot, object: *mut u8) -> bool {
    match access(slot) {
        // SAFETY: `Ready` describes the region, whose slots all hold magazines.
        Some(access) => unsafe { rseq::push(access, object) },
        None => false,
    }
}

#[inline(always)]
fn access(slot: Slot) -> Option<rseq::Access> {
    let ready = rseq::ready();
    let base = ready.base.load(Acquire); // Acquire: pairs with the Release in `publish`
    (!base.is_null())
        .then(|| rseq::Access { slot: base.wrapping_add(slot.0 as usize), offset: ready.offset.load(Relaxed) })
}

/// [`pop`] for who has not tried it, or cannot: where cells are shards, under the slot's lock. Null also if that is held.
pub(crate) fn pop_any(slot: Slot) -> *mut u8 {
    match shard_word(slot) {
        // SAFETY: every slot holds a magazine.
        Some(word) => match unsafe { locked::pop(word) } {
            Pop::Object(object) => object,
            Pop::Empty | Pop::Busy => ptr::null_mut(),
        },
        // SAFETY: slots are made from numbers of slots that every cell has.
        None => unsafe { pop(slot) },
    }
}

/// [`push`], likewise.
pub(crate) fn push_any(slot: Slot, object: *mut u8) -> bool {
    match shard_word(slot) {
        // SAFETY: every slot holds a magazine.
        Some(word) => unsafe { locked::push(word, object) == Push::Done },
        // SAFETY: slots are made from numbers of slots that every cell has.
        None => unsafe { push(slot, object) },
    }
}

#[inline(always)]
fn shard_word(slot: Slot) -> Option<&'static AtomicPtr<Magazine>> {
    let shard = SHARD.get();
    // SAFETY: a cell of the region, which is never unmapped.
    (!shard.is_null()).then(|| unsafe { &*shard.add(slot.0 as usize).cast() })
}

/// The pop for slow paths, which run because the fast one found nothing: where sections are in use that stands, else the
/// slot is tried under its lock. After [`init`].
pub(crate) fn pop_locked(slot: Slot) -> Pop {
    match seat() {
        Seat::Section => Pop::Empty,
        // SAFETY: every slot holds a magazine.
        Seat::Locked(cell) => unsafe { locked::pop(word(cell, slot)) },
    }
}

/// The push for slow paths, likewise.
pub(crate) fn push_locked(slot: Slot, object: *mut u8) -> Push {
    match seat() {
        Seat::Section => Push::Full,
        // SAFETY: every slot holds a magazine.
        Seat::Locked(cell) => unsafe { locked::push(word(cell, slot), object) },
    }
}

/// The magazine in this CPU's slot at this moment: a hint, to be confirmed by [`replace`].
pub(crate) fn peek(slot: Slot) -> *mut Magazine {
    locked::peek(word(cell(), slot))
}

/// Swaps this CPU's slot from `expected` to `new`. On `Done` the caller owns `expected`, unless it is EMPTY.
pub(crate) fn replace(slot: Slot, expected: *mut Magazine, new: *mut Magazine) -> Replace {
    match seat() {
        Seat::Section => {
            let Some(access) = access(slot) else { return Replace::Changed };
            // SAFETY: `Ready` describes the region; the caller owns `new`.
            match unsafe { rseq::replace(access, cells() - 1, expected, new) } {
                seen if seen == expected => Replace::Done,
                _ => Replace::Changed,
            }
        }
        Seat::Locked(cell) => locked::replace(word(cell, slot), expected, new),
    }
}

/// Who this thread is to the slots: on a CPU with a cell, or at a locked cell.
enum Seat {
    Section,
    Locked(u32),
}

fn seat() -> Seat {
    let cell = cell(); // once: the thread may be elsewhere the next moment
    if sections_work_on(cell) { Seat::Section } else { Seat::Locked(cell) }
}

/// The cell this thread works on at this moment: its CPU's, the extra cell, or its shard.
pub(crate) fn cell() -> u32 {
    match REGION.get() {
        Some(region) if region.mode == Mode::Rseq => rseq::cpu_at(region.offset).min(region.cells - 1),
        Some(region) => shard(region),
        None => 0,
    }
}

/// The number of this thread's shard. After [`init`].
fn shard(region: &Region) -> u32 {
    if SHARD.get().is_null() {
        let next = NEXT_SHARD.fetch_add(1, Relaxed) % region.cells;
        SHARD.set(region.base.wrapping_add(next as usize * CELL_BYTES));
    }
    ((SHARD.get().addr() - region.base.addr()) / CELL_BYTES) as u32
}

const _: () = assert!(CELL_BYTES == 1 << rseq::CELL_SHIFT);

/// The last two words of a cell are no slots: one notes when the cell was last active, in a unit of the caller's choice, the
/// other counts the slow paths there.
const ACTIVE: Slot = Slot::new(CELL_BYTES / 8 - 1);
const SLOW_PATHS: Slot = Slot::new(CELL_BYTES / 8 - 2);

/// Counts a slow path of the cell, and notes that the cell is active now; returns the count. Two at once may count as one:
/// the exact number is not worth a locked instruction.
pub(crate) fn note_slow_path(cell: u32, now: u32) -> u64 {
    let nth = slow_paths(cell) + 1;
    count(cell).store(nth, Relaxed);
    note_active(cell, now);
    nth
}

/// Slow paths of the cell so far.
pub(crate) fn slow_paths(cell: u32) -> u64 {
    count(cell).load(Relaxed)
}

fn count(cell: u32) -> &'static AtomicU64 {
    // SAFETY: eight aligned bytes of the region that nothing else uses; an integer's every value is valid.
    unsafe { &*ptr::from_ref(word(cell, SLOW_PATHS)).cast() }
}

/// Notes that the cell is active now.
pub(crate) fn note_active(cell: u32, now: u32) {
    active(cell).store(now, Relaxed);
}

/// What was noted last; 0 at first.
pub(crate) fn last_active(cell: u32) -> u32 {
    active(cell).load(Relaxed)
}

fn active(cell: u32) -> &'static AtomicU32 {
    // SAFETY: four aligned bytes of the region that nothing else uses; an integer's every value is valid.
    unsafe { &*ptr::from_ref(word(cell, ACTIVE)).cast() }
}

fn word(cell: u32, slot: Slot) -> &'static AtomicPtr<Magazine> {
    let Some(region) = REGION.get() else { fatal("slots are used before init", ptr::null(), None) };
    let is_extra = region.mode == Mode::Rseq && cell + 1 == region.cells;
    // SAFETY: `cell` is below the number of cells and the slot inside the cell; the region is never unmapped.
    unsafe {
        let start = if is_extra { region.extra } else { region.base.add(cell as usize * CELL_BYTES) };
        &*start.add(slot.0 as usize).cast()
    }
}

/// The magazine in the slot of any cell at this moment; its count may be read as a hint.
pub(crate) fn peek_at(cell: u32, slot: Slot) -> *mut Magazine {
    locked::peek(word(cell, slot))
}

/// Remote take: swaps EMPTY into the slot of any cell. What it held is **not owned yet** in a cell that sections work
/// on: only after [`settle`] answered true. `None` when there was nothing, or somebody is inside (locked cells).
pub(crate) fn take(cell: u32, slot: Slot) -> Option<*mut Magazine> {
    let word = word(cell, slot);
    let seen = locked::peek(word);
    if seen == empty() {
        return None;
    }
    if sections_work_on(cell) {
        // AcqRel: takes over what its CPU wrote (with the membarrier) and hands EMPTY out.
        return Some(word.swap(empty(), AcqRel)).filter(|&m| m != empty());
    }
    (locked::replace(word, seen, empty()) == Replace::Done).then_some(seen)
}

fn sections_work_on(cell: u32) -> bool {
    mode() == Some(Mode::Rseq) && cell + 1 < cells()
}

/// In the child of a fork: opens the locks of threads that are not there any more. What they were doing to the magazine
/// has happened or has not: the count is stored last.
pub(crate) fn open_locks(slots: usize) {
    for cell in (0..cells()).filter(|&cell| !sections_work_on(cell)) {
        (0..slots).for_each(|n| locked::open(word(cell, Slot::new(n))));
    }
}

/// Ends every section that may still be working on a magazine taken before. False when the kernel refuses: then what
/// was taken stays unowned for ever.
pub(crate) fn settle() -> bool {
    mode() != Some(Mode::Rseq) || membarrier::restart_sections()
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
