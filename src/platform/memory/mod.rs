//! Memory from the operating system, for the allocator's own records: zeroed pages, never from the allocator itself.

#[cfg(all(unix, not(miri)))]
mod unix;
#[cfg(all(unix, not(miri)))]
pub(crate) use unix::*;

#[cfg(not(all(unix, not(miri))))]
mod portable;
#[cfg(not(all(unix, not(miri))))]
pub(crate) use portable::*;
