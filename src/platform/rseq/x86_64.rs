//! The sections for x86_64. Each instruction carries its meaning; the parent module has the rules.

use super::{Access, CELL_SHIFT, OUT_OF_RANGE, READY, Ready};
use crate::platform::magazine::{HEADER_BYTES, Magazine};
use crate::platform::reader_counts::TO_LEFT;
use crate::platform::region::RECORD;
use core::arch::asm;

/// Under `--cfg gracealloc_delay`: takes two instructions apart (`platform::delay`); `long` for tens of microseconds, in one
/// of eight times. Changes no register but the flags, and does without the stack, since a section may be left in the middle.
#[cfg(gracealloc_delay)]
macro_rules! delay {
    () => {
        delay!("0x08000000", "0x00400000")
    };
    (long) => {
        delay!("0x20000000", "0x00100000")
    };
    ($stays:literal, $goes_on:literal) => {
        concat!(
            "add dword ptr fs:[gracealloc_delay@tpoff], 0x9e3779b1\n",
            "cmp dword ptr fs:[gracealloc_delay@tpoff], ",
            $stays,
            "\nja 67f\n", // mostly
            "66: pause\n",
            "add dword ptr fs:[gracealloc_delay@tpoff], 0x9e3779b1\n",
            "cmp dword ptr fs:[gracealloc_delay@tpoff], ",
            $goes_on,
            "\nja 66b\n",
            "67:",
        )
    };
}
#[cfg(not(gracealloc_delay))]
macro_rules! delay {
    ($($long:ident)?) => {
        ""
    };
}

// The number that delays step: the thread's own.
#[cfg(gracealloc_delay)]
core::arch::global_asm!(
    ".pushsection .tbss.gracealloc_delay, \"awT\", @nobits",
    ".globl gracealloc_delay",
    ".hidden gracealloc_delay",
    ".type gracealloc_delay, @object",
    ".size gracealloc_delay, 4",
    ".balign 4",
    "gracealloc_delay: .zero 4",
    ".popsection",
);

/// Opens a section: the descriptor (version 0, flags 0, start, length, abort), the restart point, the `rseq_cs` store.
macro_rules! section {
    ($($body:expr,)*) => {
        concat!(
            ".pushsection __rseq_cs, \"aw\"\n",
            ".balign 32\n",
            "77: .long 0, 0\n",
            ".quad 22f, 33f - 22f, 44f\n",
            ".popsection\n",
            "55: lea {t}, [rip + 77b]\n",
            "mov qword ptr fs:[{area} + 8], {t}\n",     // area.rseq_cs = &descriptor
            "22: movsxd {t}, dword ptr fs:[{area} + 4]\n", // cpu = area.cpu_id
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

const _: () = assert!(CELL_SHIFT == 12);

/// Takes the newest object of the slot's magazine; null when it is empty or this thread has no CPU number.
///
/// The commit changes the count in memory, which nobody can have written since it was read: storing a register instead is
/// as right, and slower (Zen 3).
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
                    delay!(),
                    "mov {m}, qword ptr [{slot} + {t}]",        // magazine = cell.slot
                    delay!(),
                    "mov {k:e}, dword ptr [{m}]",               // k = magazine.count
                    "test {k:e}, {k:e}",
                    "jz 88f",                                   // empty
                    delay!(),
                    "mov {object}, qword ptr [{m} + 8*{k} + {header} - 8]",
                    delay!(),
                    "sub dword ptr [{m}], 1",                   // commit: magazine.count = k - 1
                ),
                "xor {object:e}, {object:e}\n",
                "jmp 99f\n",
                ".popsection\n",
                // The object below will be asked for next, and its owner will write it. (Below object 0 stands a
                // stamp: a small number, and fetching from there comes to nothing.)
                "mov {m}, qword ptr [{m} + 8*{k} + {header} - 16]\n",
                "prefetchw byte ptr [{m}]\n",
                "99:\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) access.offset,
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

/// Adds `object` to the slot's magazine; false when it is full or this thread has no CPU number.
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
                    delay!(),
                    "mov {m}, qword ptr [{slot} + {t}]",        // magazine = cell.slot
                    delay!(),
                    "mov {k:e}, dword ptr [{m}]",               // k = magazine.count
                    "cmp {k:e}, dword ptr [{m} + 4]",           // against the capacity in that very magazine
                    "jae 88f",                                  // full
                    delay!(),
                    "mov qword ptr [{m} + 8*{k} + {header}], {object}",
                    delay!(),
                    "add dword ptr [{m}], 1",                   // commit: magazine.count = k + 1
                ),
                "xor {m:e}, {m:e}\n",
                "jmp 33b\n",
                ".popsection\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) access.offset,
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
    // SAFETY: one locked compare-exchange of this CPU's slot; locked because a remote taker may swap it meanwhile.
    unsafe {
        asm!(
            concat!(
                section!(
                    "cmp {t}, {end}",
                    "jae 88f",                                  // no cell for this CPU
                    "mov rax, {expected}",
                    delay!(),
                    "lock cmpxchg qword ptr [{slot} + {t}], {new}", // commit
                ),
                "mov eax, {out}\n",
                "jmp 33b\n",
                ".popsection\n",
            ),
            slot = in(reg) access.slot,
            area = in(reg) access.offset,
            end = in(reg) (cpus as usize) << CELL_SHIFT,
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
                    "mov {parity}, qword ptr [{cells} + {t} + {record}]", // parity = record.parity
                    "test {parity}, {parity}",
                    "jz 88f",                                   // closed
                    delay!(long),
                    "add {t}, {parity}",
                    "add qword ptr [{cells} + {t} + {record}], 1", // commit: record.entered[parity] += 1
                ),
                "jmp 33b\n",
                ".popsection\n",
            ),
            cells = in(reg) access.slot,
            area = in(reg) access.offset,
            parity = out(reg) parity,
            t = out(reg) _,
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
                    "mov {done}, qword ptr [{cells} + {t} + {record}]",
                    "test {done}, {done}",
                    "jz 88f",                                   // closed
                    delay!(),
                    "add {t}, {parity}",
                    "add qword ptr [{cells} + {t} + {left}], 1", // commit: record.left[parity] += 1
                ),
                "jmp 33b\n",
                ".popsection\n",
            ),
            cells = in(reg) access.slot,
            area = in(reg) access.offset,
            parity = in(reg) parity,
            done = out(reg) done,
            t = out(reg) _,
            record = const RECORD,
            left = const RECORD + TO_LEFT,
            options(nostack),
        );
    }
    done != 0
}

/// What the fast paths read.
///
/// Rust reaches another crate's static through the global offset table, by a load that lld, its linker, leaves as it is.
/// This is the same instruction with the relocation that permits linkers to make it an address (x86-64 psABI, "Optimize
/// GOTPCRELX Relocations"), which they do wherever the static is in the same program or library.
#[inline(always)]
pub(in crate::platform) fn ready() -> &'static Ready {
    let ready: *const Ready;
    // SAFETY: loads an entry of the global offset table, or the address itself: that of the static. The relocated word is
    // the instruction's last.
    unsafe {
        asm!(
            "mov {ready}, qword ptr [rip]",
            "66: .reloc 66b - 4, R_X86_64_REX_GOTPCRELX, {symbol} - 4",
            symbol = sym READY,
            ready = out(reg) ready,
            options(pure, nomem, nostack, preserves_flags),
        );
        &*ready
    }
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
