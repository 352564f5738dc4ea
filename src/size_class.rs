//! The fixed object sizes.
//!
//! ```text
//!   class   0          none
//!           1 ..  8    16, 32, 48 ... 128             every 16 bytes
//!           9 .. 72    144, 160 ... 256, 288 ...      eight per doubling, to 32 KiB
//! ```
//!
//! Eight per doubling wastes at most 1/9 of an object above 128 bytes. Sizes are first rounded up to the alignment;
//! every multiple of an alignment up to 32 KiB then lands in a class that is a multiple of it too (checked below), and
//! spans start at multiples of 32 KiB, so alignment needs no other care.

use core::alloc::Layout;

/// The largest object of a class, in bytes; larger ones go to the backing.
pub(crate) const LARGEST: usize = 32 * 1024;

/// Number of classes, class 0 (none) included.
pub(crate) const CLASSES: usize = 73;

/// Sizes are looked up in steps of so many bytes.
const STEP: usize = 16;

/// A size class, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SizeClass(u8);

static SIZES: [u16; CLASSES] = {
    let mut sizes = [0u16; CLASSES];
    let mut class = 1;
    while class < CLASSES {
        sizes[class] = if class <= 8 {
            16 * class as u16
        } else {
            let (doubling, eighth) = ((class - 9) / 8, (class - 9) % 8);
            ((128 << doubling) + (16 << doubling) * (eighth + 1)) as u16
        };
        class += 1;
    }
    sizes
};

/// The class of each size, by `(size - 1) / STEP`. A constant, so that each program part that allocates has a copy of these
/// 2 KiB right beside its code: a static of this crate is found through the global offset table, one load later.
const BY_SIZE: &[u8; LARGEST / STEP] = &{
    let mut table = [0u8; LARGEST / STEP];
    let mut class = 1;
    let mut step = 0;
    while step < table.len() {
        while (SIZES[class] as usize) < (step + 1) * STEP {
            class += 1;
        }
        table[step] = class as u8;
        step += 1;
    }
    table
};

/// What a layout is served by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Size 0: by nothing.
    Nothing,
    /// Too large, or aligned too much, for any class: by the backing.
    Large,
}

impl SizeClass {
    /// The class whose objects a layout gets, if that takes no more than a look: none for the larger alignments, and for
    /// what no class serves.
    #[inline(always)]
    pub(crate) fn of_plain(layout: Layout) -> Option<Self> {
        // Every class is aligned to a step.
        if layout.align() <= STEP { Self::of_size(layout.size()) } else { None }
    }

    /// The class whose objects a layout gets.
    pub(crate) fn of(layout: Layout) -> Result<Self, Kind> {
        // Rounding up cannot overflow, by `Layout`'s own promise.
        let size = if layout.align() <= STEP { layout.size() } else { layout.pad_to_align().size() };
        Self::of_size(size).ok_or(if size == 0 { Kind::Nothing } else { Kind::Large })
    }

    /// The smallest class with objects of that size.
    #[inline(always)]
    pub(crate) fn of_size(size: usize) -> Option<Self> {
        let last = size.wrapping_sub(1); // one comparison finds both size 0 and too large
        (last < LARGEST).then(|| Self(BY_SIZE[last / STEP]))
    }

    /// All classes that have objects.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (1..CLASSES as u8).map(Self)
    }

    /// The class with this number.
    #[inline(always)]
    pub(crate) fn from_index(index: usize) -> Self {
        debug_assert!(index < CLASSES);
        Self(index as u8)
    }

    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// Bytes of an object.
    #[inline(always)]
    pub(crate) fn bytes(self) -> usize {
        Self::bytes_of(self.index())
    }

    /// Bytes of an object of the class with this number.
    #[inline(always)]
    pub(crate) const fn bytes_of(index: usize) -> usize {
        SIZES[index] as usize
    }
}

// The table has what the module promises.
const _: () = {
    assert!(SIZES[CLASSES - 1] as usize == LARGEST);
    let mut class = 1;
    while class < CLASSES {
        let (smaller, this) = (SIZES[class - 1] as usize, SIZES[class] as usize);
        assert!(this > smaller && this % STEP == 0);
        // The smallest object above 128 bytes wastes no more than an eighth of its class.
        assert!(this <= 128 || (this - (smaller + 1)) * 8 <= this);
        class += 1;
    }
    let mut align = STEP;
    while align <= LARGEST {
        let mut size = align;
        while size <= LARGEST {
            assert!((SIZES[BY_SIZE[(size - 1) / STEP] as usize] as usize).is_multiple_of(align));
            size += align;
        }
        align *= 2;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    fn class_bytes(size: usize, align: usize) -> Option<usize> {
        SizeClass::of(Layout::from_size_align(size, align).unwrap()).ok().map(SizeClass::bytes)
    }

    #[test]
    fn every_size_gets_the_smallest_class_that_holds_it() {
        for size in 1..=LARGEST {
            let class = SizeClass::of(Layout::from_size_align(size, 1).unwrap()).unwrap();
            assert!(class.bytes() >= size);
            assert!(SizeClass(class.0 - 1).bytes() < size);
        }
    }

    #[test]
    fn alignment_is_part_of_the_size() {
        assert_eq!(class_bytes(1, 64), Some(64));
        assert_eq!(class_bytes(65, 64), Some(128));
        assert_eq!(class_bytes(136, 8), Some(144));
        assert_eq!(class_bytes(1, LARGEST), Some(LARGEST));
        assert_eq!(class_bytes(1, 2 * LARGEST), None);
        assert_eq!(class_bytes(LARGEST + 1, 1), None);
    }

    #[test]
    fn size_zero_has_no_objects() {
        assert_eq!(SizeClass::of(Layout::new::<()>()), Err(Kind::Nothing));
        assert_eq!(SizeClass::of(Layout::from_size_align(0, 1 << 20).unwrap()), Err(Kind::Nothing));
    }
}
