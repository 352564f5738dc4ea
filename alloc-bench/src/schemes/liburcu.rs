//! liburcu's memb flavour: readers as cheap as the fence on the other side permits, and two ways to retire. Neither takes a
//! section: whoever has unlinked an object need not be a reader.
//!
//! - `call_rcu` queues an `rcu_head`, and a thread waits for readers and calls what is queued. The head is the last two
//!   words of an object here, as it would be part of it in C.
//! - `defer_rcu` writes into a ring of its thread, and where that is full waits for readers right there. A caller that is a
//!   reader would wait for itself, so it has no part in what is measured with readers.
//!
//! What is inline in C is in `liburcu.c`; the rest are the library's own functions.

use std::ffi::c_int;
use std::ptr::NonNull;

use super::{Object, Readers, Scheme, Waits};
use crate::heap;

/// `call_rcu`. The library has one queue for the process.
#[derive(Debug, Default)]
pub struct CallRcu;

/// `defer_rcu`.
#[derive(Debug, Default)]
pub struct DeferRcu;

/// Words of a `struct rcu_head`: a link and a function.
const HEAD: usize = 2;

unsafe extern "C" {
    safe fn urcu_memb_register_thread();
    safe fn urcu_memb_unregister_thread();
    safe fn urcu_memb_synchronize_rcu();
    safe fn urcu_memb_barrier();
    safe fn urcu_memb_defer_register_thread() -> c_int;
    safe fn urcu_memb_defer_unregister_thread();
    safe fn urcu_memb_defer_barrier();
    fn urcu_memb_defer_rcu(function: unsafe extern "C" fn(*mut u64), object: *mut u64);
    fn urcu_memb_call_rcu(head: *mut u64, function: unsafe extern "C" fn(*mut u64));
    safe fn alloc_bench_urcu_lock();
    safe fn alloc_bench_urcu_unlock();
    safe fn alloc_bench_urcu_sections(times: u64);
}

/// # Safety
///
/// - `object` was retired, and this is called once.
unsafe extern "C" fn free<const WORDS: usize>(object: *mut u64) {
    // SAFETY: by contract it has this layout, nobody else has it, and it is not null.
    unsafe { heap::give_back(NonNull::new_unchecked(object), super::layout::<WORDS>()) };
}

/// # Safety
///
/// - `head` is that of an object that was retired, and this is called once.
unsafe extern "C" fn free_by_head<const WORDS: usize>(head: *mut u64) {
    // SAFETY: by contract; the head is the object's end.
    unsafe { free::<WORDS>(head.sub(WORDS - HEAD)) };
}

impl Scheme for CallRcu {
    const NAME: &'static str = super::CALL_RCU;

    fn join(&self) {
        urcu_memb_register_thread();
    }

    fn leave(&self) {
        urcu_memb_unregister_thread();
    }

    #[inline(always)]
    unsafe fn retire<const WORDS: usize>(&self, object: NonNull<Object<WORDS>>) {
        const { assert!(WORDS > HEAD) };
        // SAFETY: the object's last words, which nobody else uses any more, and the function that frees such an object.
        unsafe { urcu_memb_call_rcu(object.cast::<u64>().as_ptr().add(WORDS - HEAD), free_by_head::<WORDS>) };
    }

    fn drain(&mut self) {
        urcu_memb_barrier();
    }
}

impl Scheme for DeferRcu {
    const NAME: &'static str = super::DEFER_RCU;

    fn join(&self) {
        urcu_memb_register_thread();
        assert_eq!(urcu_memb_defer_register_thread(), 0, "liburcu has no memory for the thread's ring");
    }

    /// What is left in the ring is called here.
    fn leave(&self) {
        urcu_memb_defer_unregister_thread();
        urcu_memb_unregister_thread();
    }

    #[inline(always)]
    unsafe fn retire<const WORDS: usize>(&self, object: NonNull<Object<WORDS>>) {
        // SAFETY: an object that nobody else uses any more, and the function that frees such an object.
        unsafe { urcu_memb_defer_rcu(free::<WORDS>, object.as_ptr().cast()) };
    }

    fn drain(&mut self) {
        urcu_memb_defer_barrier();
    }
}

/// A section of this thread.
#[derive(Debug)]
pub struct Section;

impl Drop for Section {
    #[inline(always)]
    fn drop(&mut self) {
        alloc_bench_urcu_unlock();
    }
}

impl Readers for CallRcu {
    type Section<'a> = Section;

    #[inline(always)]
    fn enter(&self) -> Section {
        alloc_bench_urcu_lock();
        Section
    }

    /// In C, where both are inline.
    fn enter_and_leave(&self, times: u64) {
        alloc_bench_urcu_sections(times);
    }
}

impl Waits for CallRcu {
    fn synchronize(&self) {
        urcu_memb_synchronize_rcu();
    }
}
