//! crossbeam-epoch's default collector, used as its structures use it: pinned for the operation, and inside it one
//! `defer_destroy` of what was unlinked.
//!
//! It has no call that waits for readers, nor one that waits for everything. Its queue of bags is first in, first out, and
//! a thread that ends puts its unfinished bag into it; so a function deferred after that runs only when everything before
//! it has, and when all readers have left that were there.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crossbeam_epoch::{self as epoch, Guard, Shared};

use super::{Object, Readers, Scheme, UnderEpoch, Waits};
use crate::workloads::source_index::table::Table;

/// The scheme of the default collector.
#[derive(Debug, Default)]
pub struct DeferDestroy;

impl Scheme for DeferDestroy {
    const NAME: &'static str = super::DEFER_DESTROY;

    #[inline(always)]
    unsafe fn retire<const WORDS: usize>(&self, object: NonNull<Object<WORDS>>) {
        let guard = epoch::pin();
        let object = Shared::from(object.as_ptr().cast_const());
        // SAFETY: by contract nobody else can reach it; it has the layout that a Box of its type has.
        unsafe { guard.defer_destroy(object) };
    }

    fn drain(&mut self) {
        self.synchronize();
    }
}

impl Readers for DeferDestroy {
    type Section<'a> = Guard;

    #[inline(always)]
    fn enter(&self) -> Guard {
        epoch::pin()
    }
}

impl Waits for DeferDestroy {
    fn synchronize(&self) {
        let reached = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&reached);
        // Release: with the load below. It adds nothing to what the queue orders, and costs nothing.
        epoch::pin().defer(move || end.store(true, Ordering::Release));
        // Acquire: with the store above.
        while !reached.load(Ordering::Acquire) {
            epoch::pin().flush();
            thread::yield_now();
        }
    }
}

impl UnderEpoch for DeferDestroy {
    unsafe fn retire_table(&self, table: Shared<'_, Table>, guard: &Guard) {
        // SAFETY: by contract no new reader finds it, and nobody else retires it.
        unsafe { guard.defer_destroy(table) };
    }
}
