//! The books of deferred freeing: every object and page, at every state.
//!
//! Problem: notice an object that is given back too early at the first state in which it could be.
//!
//! Invariants, at every state:
//! - no object that a reader may still have in hand stands in a page that is ripe, or queued under a cookie that has
//!   elapsed: a poll may come at any moment, so none need be made;
//! - a page is in one place: a slot, a hand, the empties, a queue, the ripe. EMPTY is never written;
//! - no barrier has returned before an object that was deferred when it was called had been given back;
//!
//! whenever no section is under way:
//! - an object is in one place: below the count of one page, in one thread's hand, or marked;
//!
//! and at the end:
//! - nobody has anything in hand, and the counts of pages in hand are zero.
//!
//! ```text
//!   places[page]   = slots + empties + inboxes + lines + ripe + registers     must be 1
//!   places[object] = pages below the count + hands + marks + registers        must be 1
//! ```

use crate::engine::{Cpu, Model, When};
use crate::pages::{Deferral, EMPTY, Objects, Page, PageId, Registers, first_of};

impl Model for Deferral {
    type Registers = Registers;

    fn forget(registers: &mut Registers) {
        (registers.page, registers.count) = (EMPTY, 0);
    }

    fn interrupted(&mut self, cpu: Cpu) {
        self.flush(cpu);
    }

    fn check(&self, registers: &[&Registers], when: When) -> Result<(), String> {
        self.check_pages(registers)?;
        self.check_readers()?;
        if let Some(object) = first_of(self.left_behind) {
            return Err(format!("barrier returned before object {object} was given back"));
        }
        match when {
            When::Midway => Ok(()),
            When::Settled => self.check_objects(registers),
            When::Finished => self.check_objects(registers).and_then(|()| self.check_counts()),
        }
    }
}

impl Deferral {
    fn check_readers(&self) -> Result<(), String> {
        let queued = self.pending.iter().flat_map(|pending| pending.inbox.iter().chain(&pending.line));
        let elapsed = queued.filter(|&&page| self.pages[page].stamp <= self.grace.sequence);
        let objects = elapsed.chain(&self.ripe).flat_map(|&page| self.inside(page));
        match objects.into_iter().find(|&&object| self.seen_by[usize::from(object)] != 0) {
            None => Ok(()),
            Some(object) => Err(format!("object {object} is free while a reader has it")),
        }
    }

    fn check_pages(&self, registers: &[&Registers]) -> Result<(), String> {
        if self.pages[EMPTY] != Page::default() {
            return Err("EMPTY is written".into());
        }
        if self.empties.iter().any(|&page| self.pages[page].count > 0) {
            return Err("a page with objects is among the empties".into());
        }
        let mut places = vec![0; self.pages.len()];
        let queued = self.pending.iter().flat_map(|pending| pending.inbox.iter().chain(&pending.line));
        let carried = registers.iter().flat_map(|registers| registers.held.iter().map(|(_, page)| page));
        let fresh = registers.iter().flat_map(|registers| &registers.fresh);
        let all = self.slots.iter().chain(&self.empties).chain(&self.ripe).chain(queued).chain(carried).chain(fresh);
        all.for_each(|&page: &PageId| places[page] += 1);
        match (EMPTY + 1..places.len()).find(|&page| places[page] != 1) {
            None => Ok(()),
            Some(page) => Err(format!("page {page} is in {} places", places[page])),
        }
    }

    fn check_objects(&self, registers: &[&Registers]) -> Result<(), String> {
        let mut places = vec![0; self.seen_by.len()];
        let marked = (0..Objects::BITS as u8).filter(|object| self.marks.objects & 1 << object != 0);
        let carried = self.hands.iter().flatten().chain(registers.iter().flat_map(|registers| &registers.freeing));
        let inside = (0..self.pages.len()).flat_map(|page| self.inside(page));
        inside.chain(carried).copied().chain(marked).for_each(|object| places[usize::from(object)] += 1);
        match (1..places.len()).find(|&object| places[object] != 1) {
            None => Ok(()),
            Some(object) => Err(format!("object {object} is in {} places", places[object])),
        }
    }

    fn check_counts(&self) -> Result<(), String> {
        match &self.transit {
            Some(transit) if !transit.is_zero() => Err("a count of pages in hand is not zero at the end".into()),
            _ => Ok(()),
        }
    }
}
