//! seize: one collector, entered for each operation, and inside it one `defer_retire` of what was unlinked. Batches are
//! freed by the last reader out, without a queue; what is left is a batch per thread that is not full yet.

use std::ptr::NonNull;

use seize::{Collector, Guard, LocalGuard, reclaim};

use super::{Object, Readers, Scheme};

/// The scheme, with a collector of its own and the batches that its users get.
#[derive(Debug, Default)]
pub struct Seize(Collector);

impl Scheme for Seize {
    const NAME: &'static str = super::SEIZE;

    #[inline(always)]
    unsafe fn retire<const WORDS: usize>(&self, object: NonNull<Object<WORDS>>) {
        let guard = self.0.enter();
        // SAFETY: by contract nobody else can reach it; it has the layout that a Box of its type has.
        unsafe { guard.defer_retire(object.as_ptr(), reclaim::boxed) };
    }

    /// A collector that is dropped reclaims all it has.
    fn drain(&mut self) {
        self.0 = Collector::new();
    }
}

impl Readers for Seize {
    type Section<'a> = LocalGuard<'a>;

    #[inline(always)]
    fn enter(&self) -> LocalGuard<'_> {
        self.0.enter()
    }
}
