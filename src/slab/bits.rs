//! One bit for each object of a segment, kept out of the objects.
//!
//! ```text
//!   unit      0               1               2
//!   words     [u64; 32]       [u64; 32]       [u64; 32]  ...
//!             +--- span of two units: 4096 bits ---+
//! ```
//!
//! A unit has a bit for each 16 bytes, so a span's bits, counted from its first unit, always have room. Large classes
//! use the first word only; the rest is never touched and costs no memory.

use super::segment::{UNIT_BYTES, UNITS};
use crate::platform::memory;
use core::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Relaxed},
};

const WORDS: usize = UNIT_BYTES / 16 / 64;

/// The bits of a segment.
pub(crate) struct Bits([[AtomicU64; WORDS]; UNITS]);

impl Bits {
    /// The `n`-th word of the span that starts at `unit`.
    pub(super) fn word(&self, unit: usize, n: usize) -> &AtomicU64 {
        &self.0[unit + n / WORDS][n % WORDS]
    }

    /// Whether an object's bit is set.
    pub(super) fn get(&self, unit: usize, object: usize) -> bool {
        self.word(unit, object / 64).load(Relaxed) >> (object % 64) & 1 != 0
    }

    /// Sets a bit against other setters and takers. Returns what it was.
    pub(super) fn set_shared(&self, unit: usize, object: usize) -> bool {
        let bit = 1 << (object % 64);
        // AcqRel: see `marks`, both sides.
        self.word(unit, object / 64).fetch_or(bit, AcqRel) & bit != 0
    }

    /// Gives the memory of all bits back to the system: those of a segment without spans.
    pub(super) fn purge(&self) {
        let start = core::ptr::from_ref(self).cast::<u8>().cast_mut();
        // SAFETY: mapped by the arena; nobody looks at the bits of units that are in no span, and a span sets its own.
        unsafe { memory::purge_within(start, size_of::<Self>()) };
    }

    /// Sets exactly the first `n` bits of the span.
    pub(super) fn fill(&self, unit: usize, n: usize) {
        for at in 0..n.div_ceil(64) {
            let left = n - at * 64;
            let word = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
            self.word(unit, at).store(word, Relaxed);
        }
    }
}
