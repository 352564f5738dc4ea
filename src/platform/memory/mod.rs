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

/// Gives the whole pages of a range back to the system; returns their bytes, which read as zero then.
///
/// # Safety
/// - The range is private memory of ours, in which nothing is needed.
pub(crate) unsafe fn purge_within(start: *mut u8, bytes: usize) -> usize {
    let lead = start.align_offset(page_bytes());
    let whole = bytes.saturating_sub(lead) / page_bytes() * page_bytes();
    // SAFETY: whole pages of the range.
    if whole != 0 && unsafe { purge(start.add(lead), whole) } { whole } else { 0 }
}
