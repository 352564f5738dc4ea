//! What every slow path does first: raise the context count, and remember what the caller was.
//!
//! While the value lives, a signal handler on this thread sees atomic context; `errno` is put back at the end, because
//! programs read it after their own calls with an allocation or a drop in between.

use crate::context::{self, AtomicSection};
use crate::platform::errno;

/// A slow path under way.
pub(crate) struct SlowPath {
    may_block: bool,
    // Dropped in this order: errno is restored while the count is still raised.
    _errno: errno::Saved,
    _section: AtomicSection,
}

impl SlowPath {
    /// Enters a slow path on behalf of the caller.
    pub(crate) fn enter() -> Self {
        let may_block = !context::is_atomic();
        Self { may_block, _section: context::atomic_section(), _errno: errno::Saved::new() }
    }

    /// Whether locks, the backing and system calls are permitted: the caller was not in atomic context.
    pub(crate) fn may_block(&self) -> bool {
        self.may_block
    }
}
