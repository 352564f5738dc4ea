//! A file's symbols as one flat allocation of words, without pointers into itself and with nothing to drop: the kind of
//! object that can be given back to an allocator as it is.
//!
//! ```text
//! word 0      1      2 .. 2+4n                                  ..
//!      words  n      n × (name's word, its bytes, kind, ordinal)  names, each from a word boundary
//!                    sorted by name, then ordinal
//! ```

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::mem::MaybeUninit;
use std::slice;

use crossbeam_epoch::{Owned, Pointable, Pointer, Shared};

use super::symbols::Symbol;

/// Words before the entries.
const HEADER: usize = 2;
/// Words of an entry.
const ENTRY: usize = 4;
const WORD: usize = size_of::<u32>();

/// A sorted table of symbols. Unsized: a pointer to it is thin, the length stands in its first word.
#[derive(Debug)]
#[repr(transparent)]
pub struct Table {
    words: [u32],
}

/// What a table knows of a symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The [`Kind`](super::symbols::Kind) as a number.
    pub kind: u32,
    /// The how-manieth definition of its file it is.
    pub ordinal: u32,
}

impl Table {
    /// Builds a table: one allocation of exactly its size.
    pub fn build(mut symbols: Vec<Symbol>) -> Owned<Table> {
        symbols.sort_unstable_by(|one, other| (&one.name, one.ordinal).cmp(&(&other.name, other.ordinal)));
        Owned::init(symbols)
    }

    /// The first definition of that name.
    pub fn look_up(&self, name: &str) -> Option<Found> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if self.name(middle) < name.as_bytes() { low = middle + 1 } else { high = middle }
        }
        (low < self.len() && self.name(low) == name.as_bytes()).then(|| {
            let entry = self.entry(low);
            Found { kind: entry[2], ordinal: entry[3] }
        })
    }

    /// How many symbols it has.
    #[expect(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.words[1] as usize
    }

    fn entry(&self, place: usize) -> &[u32] {
        &self.words[HEADER + ENTRY * place..][..ENTRY]
    }

    fn name(&self, place: usize) -> &[u8] {
        let [start, bytes] = [self.entry(place)[0] as usize, self.entry(place)[1] as usize];
        let words = &self.words[start..][..bytes.div_ceil(WORD)];
        // SAFETY: words are plain bytes, and there are at least that many of them.
        unsafe { slice::from_raw_parts(words.as_ptr().cast::<u8>(), bytes) }
    }

    /// The layout of a table of so many words.
    fn layout(words: usize) -> Layout {
        Layout::array::<u32>(words).expect("a table is much smaller than the address space")
    }
}

/// The one allocation that a table is, for schemes that know nothing of tables.
///
/// # Safety
///
/// - `table` is not null, came from [`Table::build`], and was not freed.
pub unsafe fn allocation(table: Shared<'_, Table>) -> (*mut u8, Layout) {
    let start = std::ptr::with_exposed_provenance_mut::<u32>(table.with_tag(0).into_usize());
    // SAFETY: by contract a table, whose first word is their number.
    (start.cast(), Table::layout(unsafe { *start } as usize))
}

/// Words that a table of these symbols takes.
fn words_for(symbols: &[Symbol]) -> usize {
    let names: usize = symbols.iter().map(|symbol| symbol.name.len().div_ceil(WORD)).sum();
    HEADER + ENTRY * symbols.len() + names
}

/// Writes every word of a table. A file has fewer than 2^32 of everything: its text was read whole.
fn write(words: &mut [MaybeUninit<u32>], symbols: &[Symbol]) {
    words[0].write(words.len() as u32);
    words[1].write(symbols.len() as u32);
    let mut name_at = HEADER + ENTRY * symbols.len();
    for (place, symbol) in symbols.iter().enumerate() {
        let entry = [name_at as u32, symbol.name.len() as u32, symbol.kind as u32, symbol.ordinal];
        for (to, from) in words[HEADER + ENTRY * place..].iter_mut().zip(entry) {
            to.write(from);
        }
        for bytes in symbol.name.as_bytes().chunks(WORD) {
            let mut word = [0; WORD];
            word[..bytes.len()].copy_from_slice(bytes);
            words[name_at].write(u32::from_ne_bytes(word));
            name_at += 1;
        }
    }
}

/// crossbeam-epoch's way to own what is not `Sized`: through the address of its first word.
impl Pointable for Table {
    const ALIGN: usize = align_of::<u32>();
    type Init = Vec<Symbol>;

    unsafe fn init(symbols: Vec<Symbol>) -> usize {
        let layout = Table::layout(words_for(&symbols));
        // SAFETY: the header alone makes the layout larger than zero.
        let start = unsafe { alloc(layout) }.cast::<MaybeUninit<u32>>();
        if start.is_null() {
            handle_alloc_error(layout);
        }
        // SAFETY: freshly allocated for so many words, and ours alone.
        write(unsafe { slice::from_raw_parts_mut(start, words_for(&symbols)) }, &symbols);
        start.expose_provenance()
    }

    unsafe fn deref<'a>(start: usize) -> &'a Table {
        let start = std::ptr::with_exposed_provenance::<u32>(start);
        // SAFETY: by contract `start` came from `init`, which has written every word and their number into the first;
        // `Table` is a transparent wrapper of the slice.
        unsafe { &*(std::ptr::slice_from_raw_parts(start, *start as usize) as *const Table) }
    }

    unsafe fn deref_mut<'a>(start: usize) -> &'a mut Table {
        let start = std::ptr::with_exposed_provenance_mut::<u32>(start);
        // SAFETY: as in `deref`; by contract nobody else has a reference.
        unsafe { &mut *(std::ptr::slice_from_raw_parts_mut(start, *start as usize) as *mut Table) }
    }

    unsafe fn drop(start: usize) {
        let start = std::ptr::with_exposed_provenance_mut::<u32>(start);
        // SAFETY: by contract it came from `init`, with the layout that its first word tells, and nobody has it any more.
        unsafe { dealloc(start.cast(), Table::layout(*start as usize)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::source_index::symbols::Kind;

    fn symbols(names: &[&str]) -> Vec<Symbol> {
        let symbol = |(ordinal, name): (usize, &&str)| Symbol {
            name: name.to_string(),
            kind: Kind::Function,
            ordinal: ordinal as u32,
        };
        names.iter().enumerate().map(symbol).collect()
    }

    #[test]
    fn every_symbol_is_found_and_no_other() {
        let names = ["zeta", "a", "", "alpha", "abcd", "abcde", "ünï", "b"];
        let table = Table::build(symbols(&names));
        assert_eq!(table.len(), names.len());
        for (ordinal, name) in names.iter().enumerate() {
            let expected = Found { kind: Kind::Function as u32, ordinal: ordinal as u32 };
            assert_eq!(table.look_up(name), Some(expected), "{name}");
        }
        for absent in ["abc", "abcdf", "zz", "A"] {
            assert_eq!(table.look_up(absent), None, "{absent}");
        }
    }

    #[test]
    fn the_first_of_equal_names_is_found() {
        let table = Table::build(symbols(&["new", "drop", "new", "new"]));
        assert_eq!(table.look_up("new").unwrap().ordinal, 0);
    }

    #[test]
    fn an_empty_table_has_nothing() {
        assert_eq!(Table::build(Vec::new()).look_up("x"), None);
    }
}
