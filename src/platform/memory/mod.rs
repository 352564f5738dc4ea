//! Memory from the operating system, for the allocator's own records: zeroed pages, never from the allocator itself.

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
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

/// What a process with few CPUs needs before its first object: part of the program, so that it need not be mapped, and takes
/// no memory where it is not written.
const FIRST_BYTES: usize = 576 << 10;
/// A page's, which is more than any record wants.
#[repr(align(4096))]
struct First(UnsafeCell<[u8; FIRST_BYTES]>);

// SAFETY: `from_first` hands out disjoint parts of it.
unsafe impl Sync for First {}

static FIRST: First = First(UnsafeCell::new([0; FIRST_BYTES]));
static FIRST_USED: AtomicUsize = AtomicUsize::new(0);
/// What parts of it start at a multiple of: no two have a cache line in common, or a pair of them.
const APART: usize = 128;

/// Zeroed memory that is never given back, aligned to [`APART`]. What comes first stands side by side, so that small tables
/// share pages.
pub(crate) fn for_ever(bytes: usize) -> Option<NonNull<u8>> {
    from_first(bytes).or_else(|| map(bytes))
}

fn from_first(bytes: usize) -> Option<NonNull<u8>> {
    let bytes = bytes.checked_next_multiple_of(APART)?;
    let end = |used: usize| used.checked_add(bytes).filter(|&end| end <= FIRST_BYTES);
    let start = FIRST_USED.fetch_update(Relaxed, Relaxed, end).ok()?;
    // SAFETY: `start + bytes` lies in the array; the addition gave this part to this caller alone.
    NonNull::new(unsafe { FIRST.0.get().cast::<u8>().add(start) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_blocks_are_aligned_wherever_the_last_mapping_ended() {
        let layout = core::alloc::Layout::from_size_align(1 << 22, 1 << 22).unwrap();
        for _ in 0..4 {
            let _crooked = map(1 << 16);
            let block = map_aligned(layout).unwrap();
            assert!(block.addr().get().is_multiple_of(layout.align()));
            // SAFETY: the block just mapped, its first and last byte.
            assert_eq!(unsafe { (block.read(), block.add(layout.size() - 1).read()) }, (0, 0));
        }
    }

    #[test]
    fn parts_of_the_first_block_are_apart_and_what_is_too_large_is_mapped() {
        let (one, other) = (for_ever(1).unwrap(), for_ever(APART + 1).unwrap());
        assert!(one.addr().get().abs_diff(other.addr().get()) >= APART);
        assert!([one, other].iter().all(|at| at.addr().get().is_multiple_of(APART)));
        assert_eq!(from_first(FIRST_BYTES + 1), None);
        assert_eq!(from_first(usize::MAX), None);
        let mapped = for_ever(FIRST_BYTES + 1).unwrap();
        // SAFETY: mapped just now, that long.
        assert_eq!(unsafe { mapped.add(FIRST_BYTES).read() }, 0);
    }
}
