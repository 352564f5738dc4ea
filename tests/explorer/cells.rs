//! Magazines, slots and depot: the memory that the sections work on.
//!
//! Problem: hold just enough of the allocator that an object or a magazine can be lost, and no more, since every bit
//! multiplies the states. What must hold of it is the ledger's business (`ledger.rs`).
//!
//! Invariants:
//! - magazines are never unmapped: a late section may still read and write one that it loaded;
//! - what a section loaded and what a thread carries are apart in the registers: a restart forgets only the first.
//!
//! ```text
//!   slots     cpu 0 -> [1 2|]    cpu 1 -> EMPTY, no capacity, shared
//!   depot     fulls: [3 4|]      empties: [|..]          | is the count: what is above it is not there
//!   hands     user of thread 0: 5                         registers: a magazine being carried, an object being freed
//! ```

use crate::case::Bug;
use crate::engine::{Core, Cpu};

pub(crate) type Object = u8;

/// A magazine's place in `Cells::magazines`; place 0 is EMPTY.
pub(crate) type Magazine = usize;

pub(crate) const EMPTY: Magazine = 0;
pub(crate) const CAPACITY: u8 = 2;

pub(crate) type CellCore<'a> = Core<'a, Cells>;

#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Cells {
    pub(crate) bug: Bug,
    pub(crate) magazines: Vec<Page>,
    pub(crate) slots: Vec<Magazine>,
    pub(crate) fulls: Vec<Magazine>,
    pub(crate) empties: Vec<Magazine>,
    /// What the program on each thread has allocated; sorted, since the order means nothing.
    pub(crate) hands: Vec<Vec<Object>>,
    pub(crate) objects: Object,
}

/// What a magazine's page holds.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Page {
    pub(crate) count: u8,
    pub(crate) capacity: u8,
    pub(crate) objects: [Object; CAPACITY as usize],
}

#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Registers {
    // What a section loaded.
    pub(crate) cpu: Cpu,
    pub(crate) magazine: Magazine,
    pub(crate) count: u8,
    pub(crate) object: Object,
    // What outlives it: answers, arguments, and what is in hand.
    pub(crate) done: bool,
    pub(crate) freeing: Option<Object>,
    pub(crate) peeked: Peeked,
    pub(crate) held: Option<Magazine>,
    pub(crate) fresh: Option<Magazine>,
}

/// A look at a slot from outside any section: a hint, old at once.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Peeked {
    pub(crate) cpu: Cpu,
    pub(crate) magazine: Magazine,
    pub(crate) count: u8,
}

impl Cells {
    /// One page for each list of objects, in this order: the slots (`None` is EMPTY), the fulls, the empties.
    /// `loose` are in the users' hands, by thread. Objects count from 1.
    pub(crate) fn new(slots: &[Option<&[Object]>], fulls: &[&[Object]], empties: usize, loose: &[&[Object]]) -> Self {
        let mut cells = Cells {
            bug: Bug::None,
            magazines: vec![Page::default()],
            slots: Vec::new(),
            fulls: Vec::new(),
            empties: Vec::new(),
            hands: loose.iter().map(|hand| hand.to_vec()).collect(),
            objects: 0,
        };
        cells.slots = slots.iter().map(|slot| slot.map_or(EMPTY, |objects| cells.page(objects))).collect();
        cells.fulls = fulls.iter().map(|objects| cells.page(objects)).collect();
        cells.empties = (0..empties).map(|_| cells.page(&[])).collect();
        let live = cells.magazines.iter().map(|page| page.count).sum::<u8>();
        cells.objects = live + loose.iter().map(|hand| hand.len() as u8).sum::<u8>();
        cells
    }

    fn page(&mut self, objects: &[Object]) -> Magazine {
        let mut page = Page { count: objects.len() as u8, capacity: CAPACITY, ..Page::default() };
        page.objects[..objects.len()].copy_from_slice(objects);
        self.magazines.push(page);
        self.magazines.len() - 1
    }

    pub(crate) fn give_to_user(&mut self, thread: usize, object: Object) {
        self.hands[thread].push(object);
        self.hands[thread].sort_unstable();
    }

    /// Takes the newest object out of a magazine that the caller owns.
    pub(crate) fn take_out(&mut self, magazine: Magazine) -> Object {
        let page = &mut self.magazines[magazine];
        page.count -= 1;
        page.objects[usize::from(page.count)]
    }

    /// Puts an object into a magazine that the caller owns and knows to be empty.
    pub(crate) fn put_into_empty(&mut self, magazine: Magazine, object: Object) {
        let page = &mut self.magazines[magazine];
        (page.objects[0], page.count) = (object, 1);
    }
}
