//! The sections for aarch64. Each instruction carries its meaning; the parent module has the rules.

use super::{Access, OUT_OF_RANGE, READY, Ready};
use crate::platform::magazine::{HEADER_BYTES, Magazine};
use crate::platform::reader_counts::TO_LEFT;
use crate::platform::region::RECORD;
use core::arch::asm;

/// Under `--cfg gracealloc_delay`: takes two instructions apart (`platform::delay`), where the given register is unused.
#[cfg(gracealloc_delay)]
macro_rules! delay {
    ($free:literal) => {
        concat!(
            "mrs ",
            $free,
            ", cntvct_el0\n",
            "and ",
            $free,
            ", ",
            $free,
            ", #0x1fff\n",
            "cmp ",
            $free,
            ", #255\n",
            "b.hi 67f\n", // mostly
            "66: cbz ",
            $free,
            ", 67f\n",
            "yield\n",
            "sub ",
            $free,
            ", ",
            $free,
            ", #1\n",
            "b 66b\n",
            "67:",
        )
    };
}
#[cfg(not(gracealloc_delay))]
macro_rules! delay {
    ($free:literal) => {
        ""
    };
}

/// Opens a section: the descriptor (version 0, flags 0, start, length, abort), the restart point, the `rseq_cs` store.
/// `88:` is where a section that does nothing leaves it; conditional branches do not reach other sections.
macro_rules! section {
    ($($body:expr,)*) => {
        concat!(
            ".pushsection __rseq_cs, \"aw\"\n",
            ".balign 32\n",
            "77: .long 0, 0\n",
            ".quad 22f, 33f - 22f, 44f\n",
            ".popsection\n",
            ".pushsection __rseq_failure, \"ax\"\n",
            ".long 0xd428bc00\n",                   // brk #0x45e0, the signature glibc registered
            "44: b 55f\n",                          // abort: again from the restart point
            ".popsection\n",
            "55: mov {result}, xzr\n",              // what a section that does nothing answers
            "adrp {t}, 77b\n",
            "add {t}, {t}, :lo12:77b\n",
            "str {t}, [{area}, #8]\n",              // area.rseq_cs = &descriptor
            "22: ldrsw {t}, [{area}, #4]\n",        // cpu = area.cpu_id
            $($body, "\n",)*
            "33:\n",                                // end: the instruction after the commit
        )
    };
}

const _: () = assert!(super::CELL_SHIFT == 12);

/// Takes the newest object of the slot's magazine; null when it is empty or this thread has no CPU number.
///
/// # Safety
/// - `access` describes the region, and every slot in it holds a magazine.
#[inline(always)]
pub(in crate::platform) unsafe fn pop(access: Access) -> *mut u8 {
    let object: *mut u8;
    // SAFETY: only the magazine in this CPU's slot is written, by the commit alone; the caller vouches for the region.
    // Behind the commit the magazine may be another's: it is type-stable, and what is read there is only prefetched.
    unsafe {
        asm!(
            concat!(
                section!(
                    "add {t}, {slot}, {t}, lsl #12",        // the slot in its cell, see CELL_SHIFT
                    "ldr {m}, [{t}]",                       // magazine = cell.slot
                    delay!("{k}"),
                    "ldr {k:w}, [{m}]",                     // k = magazine.count
                    delay!("{t}"),
                    "cbz {k:w}, 88f",                       // empty
                    "sub {k:w}, {k:w}, #1",
                    "add {t}, {m}, {k}, lsl #3",
                    "ldr {result}, [{t}, #{header}]",
                    "str {k:w}, [{m}]",                     // commit: magazine.count = k - 1
                ),
                // The object below will be asked for next, and its owner will write it.
                "ldr {t}, [{t}, #{header} - 8]\n",
                "prfm pstl1keep, [{t}]\n",
                "88:\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) thread_pointer().wrapping_offset(access.offset),
            result = out(reg) object,
            t = out(reg) _,
            m = out(reg) _,
            k = out(reg) _,
            header = const HEADER_BYTES,
            options(nostack),
        );
    }
    object
}

/// Adds `object` to the slot's magazine; false when it is full or this thread has no CPU number.
///
/// # Safety
/// - As for [`pop`].
#[inline(always)]
pub(in crate::platform) unsafe fn push(access: Access, object: *mut u8) -> bool {
    let done: u64;
    // SAFETY: as in `pop`; the object's store is above `count` and so invisible until the commit.
    unsafe {
        asm!(
            concat!(
                section!(
                    "add {t}, {slot}, {t}, lsl #12",        // the slot in its cell, see CELL_SHIFT
                    "ldr {m}, [{t}]",                       // magazine = cell.slot
                    delay!("{k}"),
                    "ldr {k:w}, [{m}]",                     // k = magazine.count
                    delay!("{t}"),
                    "ldr {t:w}, [{m}, #4]",                 // the capacity in that very magazine
                    "cmp {k:w}, {t:w}",
                    "b.hs 88f",                             // full
                    "add {t}, {m}, {k}, lsl #3",
                    "str {object}, [{t}, #{header}]",
                    "add {k:w}, {k:w}, #1",
                    delay!("{t}"),
                    "mov {result}, #1",
                    "str {k:w}, [{m}]",                     // commit: magazine.count = k + 1
                ),
                "88:\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) thread_pointer().wrapping_offset(access.offset),
            object = in(reg) object,
            result = out(reg) done,
            t = out(reg) _,
            m = out(reg) _,
            k = out(reg) _,
            header = const HEADER_BYTES,
            options(nostack),
        );
    }
    done != 0
}

/// Swaps the slot's magazine from `expected` to `new`; returns what it held, or [`OUT_OF_RANGE`] on a CPU whose number is
/// not below `cpus`.
///
/// # Safety
/// - As for [`pop`]; `new` is a magazine that the caller owns, or EMPTY.
pub(in crate::platform) unsafe fn replace(
    access: Access,
    cpus: u32,
    expected: *mut Magazine,
    new: *mut Magazine,
) -> *mut Magazine {
    let seen: *mut Magazine;
    // SAFETY: one exclusive pair on this CPU's slot. When the store fails (a remote taker, a lost reservation) the
    // section starts again from the rseq_cs store; when it succeeds it is the last instruction but the branch on it.
    unsafe {
        asm!(
            concat!(
                section!(
                    "cmp {t}, {cpus}",
                    "b.hs 88f",                             // no cell for this CPU
                    "add {t}, {slot}, {t}, lsl #12",        // the slot in its cell, see CELL_SHIFT
                    delay!("{k}"),
                    "ldaxr {result}, [{t}]",
                    "cmp {result}, {expected}",
                    "b.ne 99f",                             // changed
                    "stlxr {k:w}, {new}, [{t}]",            // commit
                ),
                "cbnz {k:w}, 55b\n",                        // the store failed: nothing has happened, again
                "b 99f\n",
                "88: mov {result}, #{out}\n",
                "99:\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) thread_pointer().wrapping_offset(access.offset),
            cpus = in(reg) u64::from(cpus),
            expected = in(reg) expected,
            new = in(reg) new,
            result = out(reg) seen,
            t = out(reg) _,
            k = out(reg) _,
            out = const OUT_OF_RANGE,
            options(nostack),
        );
    }
    seen
}

/// Counts a reader in: one more in this CPU's record, under the parity that stands there. Returns that, or 0 where the
/// record is closed.
///
/// # Safety
/// - `access` describes the region, whose cells all have a record.
#[inline(always)]
pub(in crate::platform) unsafe fn enter(access: Access) -> u64 {
    let parity: u64;
    // SAFETY: only the counts in this CPU's record are written, by the commit alone. The parity is loaded inside: a
    // membarrier after a flip restarts whoever has loaded the old one and not added yet.
    unsafe {
        asm!(
            concat!(
                section!(
                    "add {t}, {cells}, {t}, lsl #12",       // the cell, see CELL_SHIFT
                    "ldr {result}, [{t}, #{record}]",       // parity = record.parity
                    "cbz {result}, 88f",                    // closed
                    delay!("{k}"),
                    "add {t}, {t}, {result}",
                    "ldr {k}, [{t}, #{record}]",
                    "add {k}, {k}, #1",
                    "str {k}, [{t}, #{record}]",            // commit: record.entered[parity] += 1
                ),
                "88:\n",
            ),
            cells = in(reg) access.slot,
            area = in(reg) thread_pointer().wrapping_offset(access.offset),
            result = out(reg) parity,
            t = out(reg) _,
            k = out(reg) _,
            record = const RECORD,
            options(nostack),
        );
    }
    parity
}

/// Counts a reader out that came under `parity`; false where this CPU's record is closed.
///
/// # Safety
/// - As for [`enter`]; `parity` came from there.
#[inline(always)]
pub(in crate::platform) unsafe fn leave(access: Access, parity: u64) -> bool {
    let done: u64;
    // SAFETY: as in `enter`.
    unsafe {
        asm!(
            concat!(
                section!(
                    "add {t}, {cells}, {t}, lsl #12",       // the cell, see CELL_SHIFT
                    "ldr {result}, [{t}, #{record}]",
                    "cbz {result}, 88f",                    // closed
                    delay!("{k}"),
                    "add {t}, {t}, {parity}",
                    "ldr {k}, [{t}, #{left}]",
                    "add {k}, {k}, #1",
                    "str {k}, [{t}, #{left}]",              // commit: record.left[parity] += 1
                ),
                "88:\n",
            ),
            cells = in(reg) access.slot,
            area = in(reg) thread_pointer().wrapping_offset(access.offset),
            parity = in(reg) parity,
            result = out(reg) done,
            t = out(reg) _,
            k = out(reg) _,
            record = const RECORD,
            left = const RECORD + TO_LEFT,
            options(nostack),
        );
    }
    done != 0
}

/// What the fast paths read.
#[inline(always)]
pub(in crate::platform) fn ready() -> &'static Ready {
    &READY
}

/// This thread's `tpidr_el0`.
pub(super) fn thread_pointer() -> *const u8 {
    let tp: *const u8;
    // SAFETY: reading the register has no effect.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) tp, options(nostack, nomem, preserves_flags)) };
    tp
}

/// The addresses of glibc's `__rseq_offset` and `__rseq_size`, null where libc has none.
pub(super) fn glibc_symbols() -> (*const isize, *const u32) {
    let (offset, size);
    // SAFETY: reads two entries of the global offset table.
    unsafe {
        asm!(
            ".weak __rseq_offset",
            ".weak __rseq_size",
            "adrp {offset}, :got:__rseq_offset",
            "ldr {offset}, [{offset}, :got_lo12:__rseq_offset]",
            "adrp {size}, :got:__rseq_size",
            "ldr {size}, [{size}, :got_lo12:__rseq_size]",
            offset = out(reg) offset,
            size = out(reg) size,
            options(nostack, preserves_flags, readonly),
        );
    }
    (offset, size)
}
