//! The concurrent map from file to [`Table`]: one place per file, read without locks. Readers pin crossbeam-epoch's
//! default collector, whatever the scheme that frees.

use std::sync::atomic::Ordering;

use crossbeam_epoch::{self as epoch, Atomic, Guard, Shared};

use super::symbols::Symbol;
use super::table::{Found, Table};
use crate::schemes::UnderEpoch;

/// The current table of every file.
#[derive(Debug)]
pub struct Index<S> {
    tables: Box<[Atomic<Table>]>,
    scheme: S,
}

impl<S: UnderEpoch> Index<S> {
    /// An index of so many files, none of which has a table yet.
    pub fn new(files: usize) -> Self {
        Self { tables: (0..files).map(|_| Atomic::null()).collect(), scheme: S::default() }
    }

    /// Makes these the symbols of a file. Readers see the old table or the new one.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn publish(&self, file: usize, symbols: Vec<Symbol>) {
        let table = Table::build(symbols);
        let guard = epoch::pin();
        // Release: with the load in `look_up`, publishes the words. Acquire: for the old table, which we are to free.
        let old = self.tables[file].swap(table, Ordering::AcqRel, &guard);
        self.retire(old, &guard);
    }

    /// Looks a name up in the current table of a file; `None` also if the file has none.
    ///
    /// # Panics
    ///
    /// If there is no such file.
    pub fn look_up(&self, file: usize, name: &str) -> Option<Found> {
        let guard = epoch::pin();
        // Acquire: with the swap in `publish`.
        let table = self.tables[file].load(Ordering::Acquire, &guard);
        // SAFETY: a table is retired only after it was taken out of its place, so it outlives this guard.
        unsafe { table.as_ref() }?.look_up(name)
    }

    /// Frees a table once nobody can see it. The one call that differs between allocators.
    fn retire(&self, table: Shared<'_, Table>, guard: &Guard) {
        if !table.is_null() {
            // SAFETY: `publish` has just taken it out of its place: no new reader finds it, and nobody else retires it.
            unsafe { self.scheme.retire_table(table, guard) };
        }
    }
}

impl<S> Drop for Index<S> {
    fn drop(&mut self) {
        for table in &mut self.tables {
            let last = std::mem::replace(table, Atomic::null());
            // SAFETY: we have the index to ourselves; what stands in it was never retired.
            drop(unsafe { last.try_into_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::defer_destroy::DeferDestroy;
    use crate::workloads::source_index::symbols::Kind;

    fn symbol(name: &str) -> Vec<Symbol> {
        vec![Symbol { name: name.to_owned(), kind: Kind::Struct, ordinal: 0 }]
    }

    #[test]
    fn the_newest_table_is_the_one_that_is_read() {
        let index = Index::<DeferDestroy>::new(2);
        assert_eq!(index.look_up(0, "old"), None);
        index.publish(0, symbol("old"));
        assert!(index.look_up(0, "old").is_some() && index.look_up(1, "old").is_none());
        index.publish(0, symbol("new"));
        assert!(index.look_up(0, "old").is_none() && index.look_up(0, "new").is_some());
    }

    #[test]
    fn readers_see_one_table_or_the_other() {
        let index = Index::<DeferDestroy>::new(1);
        index.publish(0, symbol("even"));
        std::thread::scope(|scope| {
            scope.spawn(|| (0..2000).for_each(|n| index.publish(0, symbol(if n % 2 == 0 { "odd" } else { "even" }))));
            scope.spawn(|| (0..2000).for_each(|_| assert!(index.look_up(0, "neither").is_none())));
        });
        assert!(index.look_up(0, "even").is_some());
    }
}
