//! Slot operations as restartable sequences, over the registration that glibc (2.35 and later) made.
//!
//! The kernel keeps one `struct rseq` per thread at a fixed distance from the thread pointer. While its `rseq_cs`
//! field points at a descriptor and the instruction pointer is within `[start, start + length)`, being preempted,
//! migrated or given a signal makes the thread go on at the descriptor's abort address instead. So a section either
//! runs through its last instruction, the commit, on one CPU with nobody between, or has not happened:
//!
//! ```text
//!   restart:  area.rseq_cs = &descriptor
//!   start:    cpu = area.cpu_id
//!             magazine = cells[cpu].slot
//!             ...
//!             store                           <- the commit, the last instruction
//!   end:
//!             abort (elsewhere, behind the signature): goto restart
//! ```
//!
//! Rules that hold for the sections in both files (a wrong byte here kills the process, in production, months later):
//! - `start` is the instruction right after the `rseq_cs` store and every restart stores it again, because the kernel
//!   clears the field when it aborts.
//! - Nothing but `rseq_cs` is ever written in the area: newer kernels kill a process that writes the id fields.
//! - Outputs are `out`, never `lateout`: a restart needs the inputs unharmed. No `nomem`, no `preserves_flags`.
//! - Labels have two digits that are neither 0 nor 1: those read as binary numbers in Intel syntax.
//! - `cpu_id` is read inside the section, as a signed number, and not compared, to spare every call that: the
//!   kernel's two ids for "not registered", -1 and -2, find cells in front of the others whose slots are always EMPTY
//!   (`OUTSIDE`), and the region reserves addresses for any number that this kernel can have. Only [`replace`] compares.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

pub(super) use arch::{enter, leave, pop, push, ready, replace};
use core::sync::atomic::{AtomicIsize, AtomicPtr};

/// `log2` of the distance between two CPUs' cells in bytes; the sections shift by it.
pub(super) const CELL_SHIFT: u32 = 12;

/// Cells in front of the first CPU's, for threads without a CPU number (include/uapi/linux/rseq.h: `RSEQ_CPU_ID_UNINITIALIZED`
/// is -1, `RSEQ_CPU_ID_REGISTRATION_FAILED` -2).
pub(super) const OUTSIDE: usize = 2;

/// What [`replace`] returns when the CPU number is out of range: no magazine stands at this address.
const OUT_OF_RANGE: usize = 8;

/// The kernel's `struct rseq` (include/uapi/linux/rseq.h), as far as it is used here.
#[repr(C, align(32))]
struct Area {
    cpu_id_start: u32,
    cpu_id: u32,
    rseq_cs: u64,
    flags: u32,
}

const _: () = {
    assert!(core::mem::offset_of!(Area, cpu_id) == 4);
    assert!(core::mem::offset_of!(Area, rseq_cs) == 8);
    assert!(core::mem::size_of::<Area>() == 32);
};

/// What all sections need to know; written once, before the fast paths use it.
#[repr(C, align(128))]
pub(super) struct Ready {
    /// The cell of CPU 0; null until, and unless, restartable sequences are chosen.
    pub(super) base: AtomicPtr<u8>,
    /// Distance of the rseq area from the thread pointer, in bytes.
    pub(super) offset: AtomicIsize,
}

/// Alone on its cache lines: nothing that others write may stand beside what every call reads.
static READY: Ready = Ready { base: AtomicPtr::new(core::ptr::null_mut()), offset: AtomicIsize::new(0) };

/// What one section needs to know.
#[derive(Clone, Copy)]
pub(super) struct Access {
    /// The slot in the cell of CPU 0; for `enter` and `leave` that cell's start.
    pub(super) slot: *mut u8,
    /// Distance of the rseq area from the thread pointer, in bytes.
    pub(super) offset: isize,
}

/// The offset of this process's rseq areas from each thread pointer, if glibc registered them.
///
/// Both symbols are looked up weakly, so that the binary also starts where libc does not have them.
pub(super) fn area_offset() -> Option<isize> {
    let (offset, size) = arch::glibc_symbols();
    if offset.is_null() || size.is_null() {
        return None;
    }
    // SAFETY: the symbols are glibc's `const ptrdiff_t __rseq_offset` and `const unsigned int __rseq_size`.
    let (offset, size) = unsafe { (offset.read(), size.read()) };
    // Size 0: registration was refused by the kernel or switched off by a tunable.
    (size != 0 && (cpu_at(offset) as i32) >= 0).then_some(offset)
}

/// The CPU that this thread runs on, as its rseq area says: a hint as soon as it is read.
pub(super) fn cpu_at(offset: isize) -> u32 {
    let area = arch::thread_pointer().wrapping_offset(offset).cast::<Area>();
    // SAFETY: `offset` came from glibc, which keeps an area there for every thread it starts; the kernel writes it
    // whenever it likes, hence volatile.
    unsafe { (&raw const (*area).cpu_id).read_volatile() }
}
