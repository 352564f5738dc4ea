//! Deferred pages: the memory that deferring, draining, polling and `barrier` work on.
//!
//! Problem: an object is in a page, a page is in a slot, in a hand, or in a queue, and a grace period may end at any
//! moment. What must hold of it is the business of `books.rs`.
//!
//! Invariants:
//! - pages are magazines: never unmapped, written by sections of the CPU whose slot holds them, or by their one owner;
//! - `pending` has two parts per CPU: the inbox, a stack that anybody pushes to, and the line, oldest first, which only
//!   the holder of the lock touches. Between them nothing is ever in a hand.
//!
//! ```text
//!   slots     cpu 0 -> [1 2|]   cpu 1 -> EMPTY           sections push here
//!   hands     a thread that seals: [3|.], cookie 4       counted in `transit` while it is so
//!   pending   cpu 0: inbox [..@4] ──> line [..@2] ──>    stamped; the first in line is polled first
//!   ripe      [5 6|]                                     given back: the allocator's next full magazines
//!   marks     {7}                                        deferred without a page; applied later
//! ```

use crate::case::Subject;
use crate::engine::{Core, Cpu};
use crate::grace::{Grace, Readers};
use crate::transit::Transit;

pub(crate) type Object = u8;

/// A page's place in `Deferral::pages`; place 0 is EMPTY.
pub(crate) type PageId = usize;

pub(crate) const EMPTY: PageId = 0;
pub(crate) const CAPACITY: u8 = 2;

pub(crate) type PageCore<'a> = Core<'a, Deferral>;

/// The seeded mistakes of deferred freeing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Bug {
    None,
    // The clock.
    CookieTrustsTheRunning,
    ProbeBeforeBegin,
    // Stamping.
    StampBeforeOwned,
    StampBeforeMembarrier,
    DrainWithoutMembarrier,
    NewerMerged,
    MarkStampedBeforeTaken,
    MarkWithoutRelease,
    // Polling.
    PollSkipsTheCheck,
    PollTrustsTheFirst,
    PollComparesGreater,
    UnripePushedBack,
    // The count of pages in hand.
    RaiseAfterReplace,
    DrainRaisesAfterSwap,
    LowerBeforeQueue,
    LowerUnderCurrentIndex,
    LowerOnThisCpu,
    RaiseWithoutRecheck,
    MarksNotLocked,
    MarksFoundByTheList,
    // The barrier.
    BarrierWithoutWait,
    FlipBeforeDrain,
    CookieBeforeWait,
    BarriersNotSerialised,
    BarrierSkipsLockedQueues,
    BarrierWithoutDrain,
    BarrierWithoutMarks,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Deferral {
    pub(crate) bug: Bug,
    pub(crate) grace: Grace,
    pub(crate) pages: Vec<Page>,
    pub(crate) slots: Vec<PageId>,
    pub(crate) empties: Vec<PageId>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) ripe: Vec<PageId>,
    pub(crate) marks: Marks,
    /// `None`: nobody calls `barrier`, and pages in hand are not counted.
    pub(crate) transit: Option<Transit>,
    /// What the program on each thread has still to unlink and defer.
    pub(crate) hands: Vec<Vec<Object>>,
    /// For each object the readers that could have seen it and have not left; all zero before it is unlinked.
    pub(crate) seen_by: Vec<Readers>,
    /// Whether stores that unlink are seen by others at once, or stay in their CPU's store buffer for a while.
    pub(crate) buffers: bool,
    /// For each CPU the object whose unlinking others do not see yet.
    pub(crate) buffered: Vec<Option<Object>>,
    /// What `deferred_free` has returned from.
    pub(crate) deferred: Objects,
    /// What a barrier should have waited for and did not.
    pub(crate) left_behind: Objects,
}

/// A set of objects, a bit each.
pub(crate) type Objects = u16;

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Page {
    pub(crate) count: u8,
    pub(crate) capacity: u8,
    pub(crate) objects: [Object; CAPACITY as usize],
    /// The cookie; 0 while it has none.
    pub(crate) stamp: u8,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pending {
    pub(crate) locked: bool,
    pub(crate) inbox: Vec<PageId>,
    pub(crate) line: Vec<PageId>,
}

/// One segment's marks.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Marks {
    pub(crate) objects: Objects,
    /// Somebody has put the segment on the stack, or will.
    pub(crate) listed: bool,
    /// It stands there.
    pub(crate) stacked: bool,
    /// Somebody applies marks.
    pub(crate) locked: bool,
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Registers {
    // What a section loaded.
    pub(crate) page: PageId,
    pub(crate) count: u8,
    // What outlives it: answers, arguments, and what is in hand.
    pub(crate) done: bool,
    pub(crate) freeing: Option<Object>,
    /// The object that `deferred_free` was called with, until it returns.
    pub(crate) deferring: Object,
    pub(crate) peeked: PageId,
    pub(crate) fresh: Option<PageId>,
    /// Pages in hand, each with the CPU whose queue it belongs to.
    pub(crate) held: Vec<(Cpu, PageId)>,
    pub(crate) cookie: u8,
    /// Where this thread has raised the count of pages in hand.
    pub(crate) raised: (Cpu, u8),
    /// The index that this barrier has retired.
    pub(crate) old: u8,
    /// The CPU that a loop over all CPUs has come to.
    pub(crate) at: Cpu,
    /// What the barrier under way must see given back.
    pub(crate) due: Objects,
}

impl Deferral {
    /// One page for each list of objects in the slots (`None` is EMPTY), which were deferred when no reader was
    /// inside; `hands` will be deferred, by thread. Objects count from 1.
    pub(crate) fn new(slots: &[Option<&[Object]>], empties: usize, hands: &[&[Object]]) -> Self {
        let mut memory = Deferral {
            bug: Bug::None,
            grace: Grace::default(),
            pages: vec![Page::default()],
            slots: Vec::new(),
            empties: Vec::new(),
            pending: vec![Pending::default(); slots.len()],
            ripe: Vec::new(),
            marks: Marks::default(),
            transit: None,
            hands: hands.iter().map(|hand| hand.to_vec()).collect(),
            seen_by: Vec::new(),
            buffers: false,
            buffered: vec![None; slots.len()],
            deferred: 0,
            left_behind: 0,
        };
        memory.slots = slots.iter().map(|slot| slot.map_or(EMPTY, |objects| memory.page(objects))).collect();
        memory.empties = (0..empties).map(|_| memory.page(&[])).collect();
        let objects = memory.deferred.count_ones() as usize + hands.iter().map(|hand| hand.len()).sum::<usize>();
        memory.seen_by = vec![0; objects + 1];
        memory
    }

    /// Others see an object unlinked later than its own CPU does. For a case with readers, and `STORE_BUFFERS`.
    pub(crate) fn with_store_buffers(mut self) -> Self {
        self.buffers = true;
        self
    }

    /// Pages in hand are counted, for a barrier to wait for.
    pub(crate) fn counted(mut self) -> Self {
        self.transit = Some(Transit::new(self.slots.len()));
        self
    }

    /// A grace period is under way at the start.
    pub(crate) fn in_a_grace_period(mut self) -> Self {
        self.grace.sequence = 1;
        self
    }

    fn page(&mut self, objects: &[Object]) -> PageId {
        let mut page = Page { count: objects.len() as u8, capacity: CAPACITY, ..Page::default() };
        page.objects[..objects.len()].copy_from_slice(objects);
        self.deferred |= set_of(objects);
        self.pages.push(page);
        self.pages.len() - 1
    }

    /// The objects below a page's count.
    pub(crate) fn inside(&self, page: PageId) -> &[Object] {
        let page = &self.pages[page];
        &page.objects[..usize::from(page.count)]
    }

    /// Puts an object into a page that the caller owns and knows to have room.
    pub(crate) fn put_into(&mut self, page: PageId, object: Object) {
        let page = &mut self.pages[page];
        page.objects[usize::from(page.count)] = object;
        page.count += 1;
    }

    /// All that was given back.
    pub(crate) fn given_back(&self) -> Objects {
        self.ripe.iter().map(|&page| set_of(self.inside(page))).sum()
    }
}

pub(crate) fn set_of(objects: &[Object]) -> Objects {
    objects.iter().fold(0, |set, &object| set | 1 << object)
}

/// The lowest object of a set.
pub(crate) fn first_of(set: Objects) -> Option<Object> {
    (set != 0).then(|| set.trailing_zeros() as Object)
}

impl Subject for Deferral {
    type Bug = Bug;

    fn cpus(&self) -> Cpu {
        self.slots.len() as Cpu
    }

    fn with_bug(&self, bug: Bug) -> Self {
        Deferral { bug, ..self.clone() }
    }
}
