//! Large objects: those above the largest class, or aligned above it. The backing serves them; we keep a record each.
//!
//! ```text
//!   address map: page of the object --> record number --> { ptr, size, align, state }
//!
//!   state   FREE ---alloc--> LIVE ---free--> FREE
//!                              |               ^
//!                              +--mark--> MARKED (on a stack until a slow path that may call the backing)
//!                              |               ^
//!                              +--defer-> DEFERRED (in a queue of the layer above, until its grace period is over)
//! ```
//!
//! An object that grows beyond its place, and is not small, becomes a mapping of its own: its pages move there, and the kernel
//! grows it from then on. No byte is copied.
//!
//! ```text
//!   block of the backing --pages move--> mapping --mremap--> mapping --free--> munmap
//!        (free again)
//! ```
//!
//! The record is made when the object is allocated, so that freeing (and later deferring) one never needs memory. A
//! pointer without a live record at its very address is not ours, or was freed before: the process ends with a line.

use super::{address_map, backing};
use crate::arena::{Arena, Record};
use crate::platform::fatal::fatal;
use crate::platform::memory;
use crate::tagged_stack::{Nodes, TaggedStack};
use core::alloc::Layout;
use core::ptr::{self, NonNull};
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

const FREE: u32 = 0;
const LIVE: u32 = 1;
const MARKED: u32 = 2;
const DEFERRED: u32 = 3;

/// What is known of a large object.
struct Large {
    ptr: AtomicPtr<u8>,
    size: AtomicUsize,
    align: AtomicUsize,
    state: AtomicU32,
    /// The object is a mapping of its own, not the backing's.
    mapped: AtomicBool,
    link: AtomicU32,
    /// The grace period it waits for, while deferred.
    stamp: AtomicU64,
}

// SAFETY: all zero is a free record; everything is atomic.
unsafe impl Record for Large {
    const FIRST: u32 = 64;
}

static ARENA: Arena<Large> = Arena::new();
static UNUSED: TaggedStack = TaggedStack::new();
static MARKS: TaggedStack = TaggedStack::new();

/// Large objects in use, and their bytes.
pub(super) static COUNT: AtomicU64 = AtomicU64::new(0);
pub(super) static BYTES: AtomicU64 = AtomicU64::new(0);

/// Marks set so far.
pub(super) static FREE_MARKS: AtomicU64 = AtomicU64::new(0);

/// Finds large objects by number, for tagged stacks.
pub(crate) struct ByNumber;

impl Nodes for ByNumber {
    fn link(&self, index: u32) -> &AtomicU32 {
        &ARENA.get(index).link
    }
}

impl Large {
    fn layout(&self) -> Layout {
        // SAFETY: set from a layout in `describe`, and only its owner, or who just ended its life, asks.
        unsafe { Layout::from_size_align_unchecked(self.size.load(Relaxed), self.align.load(Relaxed)) }
    }

    fn describe(&self, ptr: *mut u8, layout: Layout) {
        self.ptr.store(ptr, Relaxed);
        self.size.store(layout.size(), Relaxed);
        self.align.store(layout.align(), Relaxed);
        self.state.store(LIVE, Release); // Release: pairs with the Acquire in `find`
        COUNT.fetch_add(1, Relaxed);
        BYTES.fetch_add(layout.size() as u64, Relaxed);
    }

    fn forget(&self) {
        COUNT.fetch_sub(1, Relaxed);
        BYTES.fetch_sub(self.size.load(Relaxed) as u64, Relaxed);
        address_map::set_start(self.ptr.load(Relaxed).addr(), 0);
    }
}

/// Allocates a large object; null without memory.
pub(crate) fn alloc(layout: Layout, zeroed: bool) -> *mut u8 {
    let Some((number, record)) = take_record() else { return ptr::null_mut() };
    let ptr = backing::alloc(layout, zeroed);
    if ptr.is_null() {
        UNUSED.push(&ByNumber, number);
        return ptr;
    }
    if !address_map::ensure_start(ptr.addr()) {
        UNUSED.push(&ByNumber, number);
        // SAFETY: just allocated with this layout.
        unsafe { backing::dealloc(ptr, layout) };
        return ptr::null_mut();
    }
    record.mapped.store(false, Relaxed);
    record.describe(ptr, layout);
    address_map::set_start(ptr.addr(), number);
    ptr
}

fn take_record() -> Option<(u32, &'static Large)> {
    UNUSED.pop(&ByNumber).map(|number| (number, ARENA.get(number))).or_else(|| ARENA.make())
}

/// The record of a live object, which must have this layout: anything else ends the process.
fn expect(ptr: *mut u8, layout: Layout) -> (u32, &'static Large) {
    let Some((number, record)) = find(ptr) else {
        let what = if is_freed(ptr) { "double free" } else { "free of a pointer that is not an object" };
        fatal(what, ptr, Some(layout));
    };
    if record.layout() != layout {
        fatal("free with the wrong size", ptr, Some(layout));
    }
    (number, record)
}

fn find(ptr: *mut u8) -> Option<(u32, &'static Large)> {
    let number = address_map::start(ptr.addr());
    if number == 0 {
        return None;
    }
    let record = ARENA.get(number);
    // Acquire: pairs with the release in `describe`. Two objects cannot start in one page, but a stray pointer can
    // point into the page where one starts.
    let live = record.state.load(Acquire) == LIVE && record.ptr.load(Relaxed) == ptr;
    live.then_some((number, record))
}

/// Whether a large object that started here was marked or deferred, and has not gone back yet.
pub(crate) fn is_freed(ptr: *mut u8) -> bool {
    let number = address_map::start(ptr.addr());
    number != 0 && ARENA.get(number).ptr.load(Relaxed) == ptr && ARENA.get(number).state.load(Relaxed) != FREE
}

/// The layout a live large object was allocated with.
pub(super) fn layout_of(ptr: *mut u8) -> Option<Layout> {
    find(ptr).map(|(_, record)| record.layout())
}

/// The size a live large object was allocated with. The record may be freed and described anew meanwhile: then it was
/// not in use when it was asked about, and any answer is as good.
pub(super) fn size_of(ptr: *mut u8) -> Option<usize> {
    find(ptr).map(|(_, record)| record.size.load(Relaxed))
}

/// Gives a large object back to the backing.
pub(crate) fn free(ptr: *mut u8, layout: Layout) {
    let (number, record) = expect(ptr, layout);
    claim(record, FREE);
    release(number, record);
}

/// Marks a large object as free, for [`apply_marks`]. Never blocks, cannot fail.
pub(crate) fn mark_free(ptr: *mut u8, layout: Layout) {
    let (number, record) = expect(ptr, layout);
    claim(record, MARKED);
    FREE_MARKS.fetch_add(1, Relaxed);
    MARKS.push(&ByNumber, number);
}

/// Ends a large object's life without giving it back, which [`release_deferred`] does with the number returned. Never
/// blocks, cannot fail.
pub(crate) fn defer(ptr: *mut u8, layout: Layout) -> u32 {
    let (number, record) = expect(ptr, layout);
    claim(record, DEFERRED);
    number
}

/// Where the layer above notes which grace period a deferred object waits for.
pub(crate) fn stamp(number: u32) -> &'static AtomicU64 {
    &ARENA.get(number).stamp
}

/// Bytes of a deferred object.
pub(crate) fn deferred_bytes(number: u32) -> usize {
    ARENA.get(number).size.load(Relaxed)
}

/// Gives a deferred object back to the backing. Not in atomic context.
///
/// # Safety
/// - [`defer`] returned this number and nobody has released it since.
/// - The object's grace period is over.
pub(crate) unsafe fn release_deferred(number: u32) {
    release(number, ARENA.get(number));
}

/// Ends an object's life; of two who try, one is told that it is a double free.
fn claim(record: &Large, state: u32) {
    // AcqRel: of two who free it one loses; the winner sees what `describe` released.
    if record.state.compare_exchange(LIVE, state, AcqRel, Relaxed).is_err() {
        fatal("double free", record.ptr.load(Relaxed), Some(record.layout()));
    }
}

fn release(number: u32, record: &Large) {
    let (ptr, layout, mapped) = (record.ptr.load(Relaxed), record.layout(), record.mapped.load(Relaxed));
    record.forget(); // before anybody can hand the address out again
    record.state.store(FREE, Relaxed);
    UNUSED.push(&ByNumber, number);
    // SAFETY: the record says where it came from, with this layout, and its life was ended by us alone.
    unsafe { if mapped { memory::unmap(ptr, layout) } else { backing::dealloc(ptr, layout) } };
}

pub(super) fn marks_pending() -> bool {
    !MARKS.is_empty()
}

/// Gives all marked large objects back.
pub(super) fn apply_marks() {
    while let Some(number) = MARKS.pop(&ByNumber) {
        release(number, ARENA.get(number));
    }
}

/// Resizes a large object that stays large; null without memory, and then it is as before.
pub(crate) fn realloc(ptr: *mut u8, layout: Layout, new: Layout) -> *mut u8 {
    let (number, record) = expect(ptr, layout);
    // In hand before anything changes: once the object has moved, the map must not be what fails.
    let Some(mut nodes) = address_map::Nodes::take() else { return ptr::null_mut() };
    record.forget(); // before anybody can hand the old address out again
    // SAFETY: a live object with this layout, the caller's alone; the new size is valid.
    let moved = unsafe { resize(record, ptr, layout, new.size()) };
    let (at, now) = if moved.is_null() { (ptr, layout) } else { (moved, new) };
    nodes.ensure_start(at.addr());
    record.describe(at, now);
    address_map::set_start(at.addr(), number);
    moved
}

/// Resizes in whichever way takes the least; null without memory, and then the object is as before.
///
/// # Safety
/// - `record` describes a live object of this layout, which is the caller's alone; `new_size` is not zero and fits its alignment.
unsafe fn resize(record: &Large, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
    // SAFETY: handed on to the caller.
    unsafe {
        if record.mapped.load(Relaxed) {
            return memory::resize(ptr, layout.size(), new_size).map_or(ptr::null_mut(), NonNull::as_ptr);
        }
        if backing::is_movable(layout) && new_size > layout.size() {
            if backing::grow(ptr, layout, new_size) {
                return ptr;
            }
            if let Some(moved) = move_out(ptr, layout, new_size) {
                record.mapped.store(true, Relaxed);
                return moved.as_ptr();
            }
        }
        backing::realloc(ptr, layout, new_size)
    }
}

/// Moves an object's pages into a mapping of its own, which is larger. `None` where that cannot be done, and nothing has.
///
/// # Safety
/// - The object is the backing's, of this layout, and the caller's alone.
unsafe fn move_out(ptr: *mut u8, layout: Layout, new_size: usize) -> Option<NonNull<u8>> {
    // SAFETY: handed on to the caller; movable objects stand on whole pages, which are all theirs. What was moved out and
    // cannot grow goes back: its place is still there.
    unsafe {
        let moved = memory::move_out(ptr, layout.size())?;
        let grown = memory::resize(moved.as_ptr(), layout.size(), new_size);
        if grown.is_some() {
            backing::dealloc(ptr, layout);
        } else {
            ptr.copy_from_nonoverlapping(moved.as_ptr(), layout.size());
            memory::unmap(moved.as_ptr(), memory::layout_of(layout.size()));
        }
        grown
    }
}

/// Takes the lock of this file, for fork.
pub(super) fn lock_all() {
    ARENA.lock();
}

/// Leaves it again.
///
/// # Safety
/// - This thread called [`lock_all`].
pub(super) unsafe fn unlock_all() {
    // SAFETY: handed on to the caller.
    unsafe { ARENA.unlock() };
}
