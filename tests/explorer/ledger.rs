//! The ledger: every object and every magazine, at every state.
//!
//! Problem: notice a lost or doubled object at the first state that has it.
//!
//! Invariants, at every state:
//! - a magazine is in one place: a slot, a list of the depot, or one thread's hand. EMPTY may be in any number of
//!   slots, is in no list, and is never written;
//! - no count exceeds its magazine's capacity; the depot's full magazines hold something, its empty ones nothing;
//!
//! whenever no section is under way:
//! - an object is in one place: below the count of one magazine, or in one user's hand;
//!
//! and at the end:
//! - no thread has left with anything in hand: what its registers held would be missing above.
//!
//! ```text
//!   places[object]   = magazines below the count + users' hands + registers      must be 1
//!   places[magazine] = slots + fulls + empties + registers                        must be 1
//! ```

use crate::cells::{Cells, EMPTY, Magazine, Page, Registers};
use crate::engine::{Model, When};

impl Model for Cells {
    type Registers = Registers;

    fn forget(registers: &mut Registers) {
        (registers.cpu, registers.magazine, registers.count, registers.object) = (0, EMPTY, 0, 0);
    }

    fn check(&self, registers: &[&Registers], when: When) -> Result<(), String> {
        self.check_pages()?;
        self.check_depot()?;
        self.check_magazines(registers)?;
        if when == When::Midway {
            return Ok(());
        }
        self.check_objects(registers)
    }
}

impl Cells {
    fn check_pages(&self) -> Result<(), String> {
        if self.magazines[EMPTY] != Page::default() {
            return Err("EMPTY is written".into());
        }
        match self.magazines.iter().position(|page| page.count > page.capacity) {
            Some(magazine) => Err(format!("magazine {magazine} counts more than it can hold")),
            None => Ok(()),
        }
    }

    fn check_depot(&self) -> Result<(), String> {
        let count = |&magazine: &Magazine| self.magazines[magazine].count;
        if self.fulls.contains(&EMPTY) || self.empties.contains(&EMPTY) {
            return Err("EMPTY is queued".into());
        }
        if self.empties.iter().any(|magazine| count(magazine) > 0) {
            return Err("a magazine with objects is queued as empty".into());
        }
        if self.fulls.iter().any(|magazine| count(magazine) == 0) {
            return Err("a magazine without objects is queued as full".into());
        }
        Ok(())
    }

    fn check_magazines(&self, registers: &[&Registers]) -> Result<(), String> {
        let mut places = vec![0; self.magazines.len()];
        let carried = registers.iter().flat_map(|registers| [registers.held, registers.fresh]).flatten();
        let queued = self.slots.iter().chain(&self.fulls).chain(&self.empties).copied();
        queued.chain(carried).for_each(|magazine| places[magazine] += 1);
        let wrong = (EMPTY + 1..places.len()).find(|&magazine| places[magazine] != 1);
        match wrong.map(|magazine| (magazine, places[magazine])) {
            None => Ok(()),
            Some((magazine, 0)) => Err(format!("magazine {magazine} is lost")),
            Some((magazine, n)) => Err(format!("magazine {magazine} is in {n} places")),
        }
    }

    fn check_objects(&self, registers: &[&Registers]) -> Result<(), String> {
        let mut places = vec![0; usize::from(self.objects) + 1];
        let live = self.magazines.iter().flat_map(|page| &page.objects[..usize::from(page.count)]);
        let freeing = registers.iter().flat_map(|registers| &registers.freeing);
        let held = self.hands.iter().flatten().chain(freeing);
        live.chain(held).for_each(|&object| places[usize::from(object)] += 1);
        if places[0] > 0 {
            return Err("a cell below the count holds no object".into());
        }
        let wrong = (1..places.len()).find(|&object| places[object] != 1);
        match wrong.map(|object| (object, places[object])) {
            None => Ok(()),
            Some((object, 0)) => Err(format!("object {object} is lost")),
            Some((object, n)) => Err(format!("object {object} is in {n} places")),
        }
    }
}
