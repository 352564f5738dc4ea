//! Slots: what is done with the words of the region, each of which holds one magazine.
//!
//! ```text
//!   pop, push               the fast paths: a section, or nothing
//!   pop_any, push_any       the same, or under the slot's lock where cells are shards
//!   *_locked, replace       for slow paths: whichever it is, the extra cell too
//!   take, settle            other CPUs' slots
//! ```
//!
//! A thread without a CPU number finds nothing and no room in the cells outside, which stay EMPTY for ever, and then works on
//! the extra cell under that cell's locks. Where cells are shards each thread keeps one.
//!
//! The fast paths read `Ready` and nothing else that is shared; it is written once, alone on its cache lines.

use super::locked::{self, Pop, Push, Replace};
use super::magazine::Magazine;
use super::region::{CELL_BYTES, NO_SLOTS, REGION, Region, word};
use super::sync::{
    AtomicPtr,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use super::thread_cell::thread_cell;
use super::{membarrier, rseq};
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicU64};

pub(crate) use super::region::{Mode, Slot, cells, empty, init, mode};

/// Threads that asked for a shard, so that each gets the next.
static NEXT_SHARD: AtomicU32 = AtomicU32::new(0);

thread_cell! {
    /// This thread's shard; null before it has one, and where cells are CPUs.
    static SHARD: *mut u8 = ptr::null_mut(), "gracealloc_shard";
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
    access_at(slot.offset())
}

/// What a section needs to work so many bytes into this CPU's cell; `None` where sections are not in use (yet).
#[inline(always)]
pub(super) fn access_at(offset: usize) -> Option<rseq::Access> {
    let ready = rseq::ready();
    let base = ready.base.load(Acquire); // Acquire: pairs with the Release in `publish`
    (!base.is_null()).then(|| rseq::Access { slot: base.wrapping_add(offset), offset: ready.offset.load(Relaxed) })
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
    (!shard.is_null()).then(|| unsafe { &*shard.add(slot.offset()).cast() })
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

/// The last two words of a cell are no slots: one notes when the cell was last active, in a unit of the caller's choice, the
/// other counts the slow paths there.
const ACTIVE: Slot = Slot::new(CELL_BYTES / 8 - 1);
const SLOW_PATHS: Slot = Slot::new(CELL_BYTES / 8 - NO_SLOTS);

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
