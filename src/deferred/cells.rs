//! What deferral keeps for each CPU: one record per cell of the slots, on cache lines of its own, so that CPUs which
//! defer write nothing that another one reads on its way.

use super::pending::Pending;
use crate::platform::{memory, slots};
use crate::size_class::{CLASSES, SizeClass};
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};
use once_cell::race::OnceRef;

/// One CPU's part.
#[repr(align(128))]
pub(super) struct Cell {
    /// Pages that wait for their grace period.
    pub(super) pages: Pending,
    /// Some deferred slot of this cell may hold a page: set after one was put there.
    pub(super) open: AtomicBool,
    /// Threads that have pages in hand, by the parity they came under; see `in_transit`.
    pub(super) in_transit: [AtomicU32; 2],
    /// Bytes charged here and not yet passed on to the total; see `budget`.
    pub(super) charge: AtomicI64,
    /// Pages sealed, and pages that came back, since the process began.
    pub(super) sealed: AtomicU64,
    pub(super) recycled: AtomicU64,
    /// What the worker read in `sealed` last.
    pub(super) seen: AtomicU64,
    /// Objects in its pages, by class.
    objects: [AtomicU32; CLASSES],
}

static CELLS: OnceRef<'static, Table> = OnceRef::new();

struct Table(&'static [Cell]);

/// Sets the records up for as many cells as the slots have. False without memory. Threads may race through here.
pub(super) fn init() -> bool {
    if CELLS.get().is_some() {
        return true;
    }
    let n = slots::cells() as usize;
    let Some(at) = memory::for_ever(n * size_of::<Cell>() + size_of::<Table>()) else { return false };
    // SAFETY: zeroed memory of that size, aligned as a cell is; queues and counts may be zero. The table's
    // description stands behind the records, whose size is a multiple of its alignment.
    let table = unsafe {
        let table = at.as_ptr().add(n * size_of::<Cell>()).cast::<Table>();
        table.write(Table(core::slice::from_raw_parts(at.cast::<Cell>().as_ptr(), n)));
        &*table
    };
    let _ = CELLS.set(table); // lost the race: the winner's table serves
    true
}

/// All cells; none before [`init`].
pub(super) fn all() -> &'static [Cell] {
    CELLS.get().map_or(&[], |table| table.0)
}

/// This CPU's cell at this moment; `None` before [`init`].
pub(super) fn here() -> Option<&'static Cell> {
    all().get(slots::cell() as usize)
}

impl Cell {
    /// Counts the objects of a page that is queued here.
    pub(super) fn count(&self, class: SizeClass, objects: u32) {
        self.objects[class.index()].fetch_add(objects, Relaxed);
    }

    /// Counts them off: it has come back.
    pub(super) fn discount(&self, class: SizeClass, objects: u32) {
        self.objects[class.index()].fetch_sub(objects, Relaxed);
    }

    pub(super) fn objects(&self, class: SizeClass) -> u32 {
        self.objects[class.index()].load(Relaxed)
    }
}
