//! Delays between the steps of a protocol, for tests: `RUSTFLAGS="--cfg gracealloc_delay"`.
//!
//! Problem: what goes wrong between two instructions goes wrong once in a billion times, and a test that never sees it proves
//! nothing. So steps are taken apart:
//!
//! ```text
//!   sections       delay!() between the instructions of `rseq`, up to the commit
//!   elsewhere      delay::point() between the steps of shared records, positions, the driver and sealing
//! ```
//!
//! Each point lets nearly all pass, and now and then has one turn round for some microseconds. Both step a number of the
//! thread's own: an atomic instruction would be the fence whose absence a test is to find.
//!
//! Invariant: without the flag there is nothing of this in the machine code. With it a program, not a shared library, can
//! be linked.

use core::cell::Cell;

/// The golden ratio of 32 bits: adding it walks evenly through all numbers.
const STEP: u32 = 0x9e37_79b1;
/// Takes the steps before and behind it apart: one in 32 stays, and goes on at one look in 1024.
#[inline(always)]
pub(crate) fn point() {
    if cfg!(gracealloc_delay) {
        delay(u32::MAX / 32, u32::MAX / 1024);
    }
}

/// The same for tens of microseconds, in one of eight times: where a whole grace period is to fit in between.
#[inline(always)]
pub(crate) fn long() {
    if cfg!(gracealloc_delay) {
        delay(u32::MAX / 8, u32::MAX / 4096);
    }
}

fn delay(stays: u32, goes_on: u32) {
    thread_local! {
        static NUMBER: Cell<u32> = const { Cell::new(0) };
    }
    let next = || {
        NUMBER.set(NUMBER.get().wrapping_add(STEP));
        NUMBER.get()
    };
    if next() < stays {
        while next() > goes_on {
            core::hint::spin_loop();
        }
    }
}
