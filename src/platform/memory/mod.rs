//! Memory from the operating system, for the allocator's own records: zeroed pages, never from the allocator itself.

use once_cell::race::OnceNonZeroUsize;

#[cfg(all(unix, not(miri)))]
mod unix;
#[cfg(all(unix, not(miri)))]
pub(crate) use unix::*;

#[cfg(not(all(unix, not(miri))))]
mod portable;
#[cfg(not(all(unix, not(miri))))]
pub(crate) use portable::*;

/// The page size in bytes, asked once.
pub(crate) fn page_bytes() -> usize {
    static PAGE: OnceNonZeroUsize = OnceNonZeroUsize::new();
    PAGE.get_or_init(ask_page_bytes).get()
}
