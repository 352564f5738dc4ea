//! liburcu's memb flavour: readers as cheap as the fence on the other side permits, and `call_rcu`, whose thread waits for
//! them. Retiring takes no section: whoever has unlinked an object need not be a reader. The last two words of an object are
//! its `rcu_head`, as they would be in C.
//!
//! `call_rcu` and not `defer_rcu`, which waits for readers in its caller: inside a section that would be for itself.
//! What is inline in C is in `liburcu.c`; the rest are the library's own functions.

use std::ptr::NonNull;

use super::{Object, Readers, Scheme, Waits};
use crate::heap;

/// The scheme, of which the library has one for the process.
#[derive(Debug, Default)]
pub struct Liburcu;

/// Words of a `struct rcu_head`: a link and a function.
const HEAD: usize = 2;

unsafe extern "C" {
    safe fn urcu_memb_register_thread();
    safe fn urcu_memb_unregister_thread();
    safe fn urcu_memb_synchronize_rcu();
    safe fn urcu_memb_barrier();
    fn urcu_memb_call_rcu(head: *mut u64, function: unsafe extern "C" fn(*mut u64));
    safe fn alloc_bench_urcu_lock();
    safe fn alloc_bench_urcu_unlock();
    safe fn alloc_bench_urcu_sections(times: u64);
}

/// # Safety
///
/// - `head` is that of an object that was retired, and this is called once.
unsafe extern "C" fn free<const WORDS: usize>(head: *mut u64) {
    // SAFETY: the head is the object's end.
    let object = unsafe { head.sub(WORDS - HEAD) };
    // SAFETY: by contract it has this layout, nobody else has it, and it is not null.
    unsafe { heap::give_back(NonNull::new_unchecked(object), super::layout::<WORDS>()) };
}

impl Scheme for Liburcu {
    const NAME: &'static str = super::LIBURCU;

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
        unsafe { urcu_memb_call_rcu(object.cast::<u64>().as_ptr().add(WORDS - HEAD), free::<WORDS>) };
    }

    fn drain(&mut self) {
        urcu_memb_barrier();
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

impl Readers for Liburcu {
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

impl Waits for Liburcu {
    fn synchronize(&self) {
        urcu_memb_synchronize_rcu();
    }
}
