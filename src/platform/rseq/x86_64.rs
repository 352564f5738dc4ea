//! The sections for x86_64. Each instruction carries its meaning; the parent module has the rules.

use super::{Access, CPUS, OUT_OF_RANGE};
use crate::platform::magazine::{HEADER_BYTES, Magazine};
use core::arch::asm;

/// Opens a section: the descriptor (version 0, flags 0, start, length, abort), the restart point, the `rseq_cs` store.
macro_rules! section {
    ($($body:literal,)*) => {
        concat!(
            ".pushsection __rseq_cs, \"aw\"\n",
            ".balign 32\n",
            "77: .long 0, 0\n",
            ".quad 22f, 33f - 22f, 44f\n",
            ".popsection\n",
            "55: lea {t}, [rip + 77b]\n",
            "mov qword ptr fs:[{area} + 8], {t}\n",     // area.rseq_cs = &descriptor
            "22: mov {t:e}, dword ptr fs:[{area} + 4]\n", // cpu = area.cpu_id
            "cmp {t:e}, dword ptr [{ready} + {cpus}]\n",
            "jae 88f\n",                                // no cell for this CPU
            "shl {t}, 12\n",                            // the distance of its cell, see CELL_SHIFT
            $($body, "\n",)*
            "33:\n",                                    // end: the instruction after the commit
            ".pushsection __rseq_failure, \"ax\"\n",
            ".byte 0x0f, 0xb9, 0x3d\n",                 // ud1 [rip + signature], edi: traps if ever reached
            ".long 0x53053053\n",                       // the signature glibc registered
            "44: jmp 55b\n",                            // abort: again from the rseq_cs store
            "88: "                                      // out, nothing done: the macro's user writes what follows
        )
    };
}

const _: () = assert!(super::CELL_SHIFT == 12);

/// Takes the newest object of the slot's magazine; null when it is empty or this CPU has no cell.
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
                    "mov {m}, qword ptr [{slot} + {t}]",        // magazine = cell.slot
                    "mov {k:e}, dword ptr [{m}]",               // k = magazine.count
                    "sub {k:e}, 1",
                    "jc 88f",                                   // empty
                    "mov {object}, qword ptr [{m} + 8*{k} + {header}]",
                    "mov dword ptr [{m}], {k:e}",               // commit: magazine.count = k - 1
                ),
                "xor {object:e}, {object:e}\n",
                "jmp 99f\n",
                ".popsection\n",
                // The object below will be asked for next, and its owner will write it. (Below object 0 stands a
                // stamp: a small number, and fetching from there comes to nothing.)
                "mov {m}, qword ptr [{m} + 8*{k} + {header} - 8]\n",
                "prefetchw byte ptr [{m}]\n",
                "99:\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) access.offset,
            ready = in(reg) access.ready,
            cpus = const CPUS,
            object = out(reg) object,
            t = out(reg) _,
            m = out(reg) _,
            k = out(reg) _,
            header = const HEADER_BYTES,
            options(nostack),
        );
    }
    object
}

/// Adds `object` to the slot's magazine; false when it is full or this CPU has no cell.
///
/// # Safety
/// - As for [`pop`].
#[inline(always)]
pub(in crate::platform) unsafe fn push(access: Access, object: *mut u8) -> bool {
    let magazine: *mut Magazine;
    // SAFETY: as in `pop`; the object's store is above `count` and so invisible until the commit.
    unsafe {
        asm!(
            concat!(
                section!(
                    "mov {m}, qword ptr [{slot} + {t}]",        // magazine = cell.slot
                    "mov {k:e}, dword ptr [{m}]",               // k = magazine.count
                    "cmp {k:e}, dword ptr [{m} + 4]",           // against the capacity in that very magazine
                    "jae 88f",                                  // full
                    "mov qword ptr [{m} + 8*{k} + {header}], {object}",
                    "add {k:e}, 1",
                    "mov dword ptr [{m}], {k:e}",               // commit: magazine.count = k + 1
                ),
                "xor {m:e}, {m:e}\n",
                "jmp 33b\n",
                ".popsection\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) access.offset,
            ready = in(reg) access.ready,
            cpus = const CPUS,
            object = in(reg) object,
            t = out(reg) _,
            m = out(reg) magazine,
            k = out(reg) _,
            header = const HEADER_BYTES,
            options(nostack),
        );
    }
    !magazine.is_null()
}

/// Swaps the slot's magazine from `expected` to `new`; returns what it held, or [`OUT_OF_RANGE`].
///
/// # Safety
/// - As for [`pop`]; `new` is a magazine that the caller owns, or EMPTY.
pub(in crate::platform) unsafe fn replace(
    access: Access,
    expected: *mut Magazine,
    new: *mut Magazine,
) -> *mut Magazine {
    let seen: *mut Magazine;
    // SAFETY: one locked compare-exchange of this CPU's slot; locked because a remote taker may swap it meanwhile.
    unsafe {
        asm!(
            concat!(
                section!(
                    "mov rax, {expected}",
                    "lock cmpxchg qword ptr [{slot} + {t}], {new}", // commit
                ),
                "mov eax, {out}\n",
                "jmp 33b\n",
                ".popsection\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) access.offset,
            ready = in(reg) access.ready,
            cpus = const CPUS,
            expected = in(reg) expected,
            new = in(reg) new,
            t = out(reg) _,
            out("rax") seen,
            out = const OUT_OF_RANGE,
            options(nostack),
        );
    }
    seen
}

/// The address behind this thread's `fs`.
pub(super) fn thread_pointer() -> *const u8 {
    let tp: *const u8;
    // SAFETY: the x86_64 ABI keeps the thread control block's own address in its first word.
    unsafe { asm!("mov {}, qword ptr fs:[0]", out(reg) tp, options(nostack, preserves_flags, readonly)) };
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
            "mov {offset}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {size}, qword ptr [rip + __rseq_size@GOTPCREL]",
            offset = out(reg) offset,
            size = out(reg) size,
            options(nostack, preserves_flags, readonly),
        );
    }
    (offset, size)
}
