//! `mmap` and `madvise`.

use core::alloc::Layout;
use core::num::NonZeroUsize;
use core::ptr::NonNull;

/// Maps `bytes` (rounded up to pages) of zeroed, private memory.
pub(crate) fn map(bytes: usize) -> Option<NonNull<u8>> {
    map_near(core::ptr::null_mut(), bytes)
}

/// As [`map`], at `wish` if the kernel finds room there.
fn map_near(wish: *mut u8, bytes: usize) -> Option<NonNull<u8>> {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping where there is none.
    mapping(unsafe { libc::mmap(wish.cast(), bytes, prot, flags, -1, 0) })
}

/// As [`map`], in front of `beyond` bytes of addresses that have no memory.
pub(crate) fn map_in_front(bytes: usize, beyond: usize) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let at = unsafe { libc::mmap(core::ptr::null_mut(), bytes + beyond, libc::PROT_NONE, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the first part of the mapping just made, whole pages.
    if unsafe { libc::mprotect(at, bytes, libc::PROT_READ | libc::PROT_WRITE) } != 0 {
        // SAFETY: the mapping just made.
        unsafe { munmap(at.cast(), bytes + beyond) };
        return None;
    }
    NonNull::new(at.cast())
}

/// The layout that [`unmap`] wants for what [`map`] mapped.
pub(crate) fn layout_of(bytes: usize) -> Layout {
    // SAFETY: something of that size was mapped, so it is far below the limit.
    unsafe { Layout::from_size_align_unchecked(bytes, 1) }
}

/// Maps zeroed memory at a multiple of the layout's alignment, which is a multiple of the page size.
pub(crate) fn map_aligned(layout: Layout) -> Option<NonNull<u8>> {
    let (bytes, align) = (layout.size(), layout.align());
    let mut wish = core::ptr::null_mut();
    for _ in 0..2 {
        let at = map_near(wish, bytes)?.as_ptr(); // next to an aligned block of the same size it is aligned by itself
        if at.addr().is_multiple_of(align) {
            return NonNull::new(at);
        }
        // SAFETY: the mapping just made.
        unsafe { munmap(at, bytes) };
        wish = at.map_addr(|at| at & !(align - 1)); // mappings grow downwards: there is room now from here on, as a rule
    }
    let at = map(bytes + align)?.as_ptr();
    let lead = at.align_offset(align);
    // SAFETY: head and tail of the mapping just made, around the block, which stays.
    unsafe {
        munmap(at, lead);
        munmap(at.add(lead + bytes), align - lead);
        NonNull::new(at.add(lead))
    }
}

/// Gives back what [`map`] or [`map_aligned`] mapped.
///
/// # Safety
/// - It came from there with this layout and is not used any more.
pub(crate) unsafe fn unmap(start: *mut u8, layout: Layout) {
    // SAFETY: handed on to the caller.
    unsafe { munmap(start, layout.size()) }
}

/// # Safety
/// - Nothing in the range is needed any more.
unsafe fn munmap(start: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: handed on to the caller. A kernel that refuses keeps the pages mapped: they are lost, no more.
        unsafe { libc::munmap(start.cast(), bytes) };
    }
}

/// Gives the pages of a range back to the system; they read as zero afterwards. True when that has happened.
///
/// # Safety
/// - The range is private anonymous memory, whole pages, and nothing in it is needed any more.
pub(crate) unsafe fn purge(start: *mut u8, bytes: usize) -> bool {
    // MADV_DONTNEED promises zero pages on Linux only.
    // SAFETY: handed on to the caller.
    let done = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_DONTNEED) } == 0;
    done && cfg!(target_os = "linux")
}

/// Makes the pages of a range resident, so that touching them later cannot fault for want of memory.
///
/// # Safety
/// - The range is private memory of ours that nobody else uses meanwhile.
pub(crate) unsafe fn populate(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: handed on to the caller. Kernels before 5.14 refuse, then the pages are touched below.
    if unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) } == 0 {
        return;
    }
    for at in (0..bytes).step_by(super::page_bytes()) {
        // SAFETY: inside the range; writes back the value that stands there.
        unsafe { start.add(at).write_volatile(start.add(at).read_volatile()) };
    }
}

/// Asks for huge pages in a range from now on; a kernel that has none refuses.
///
/// # Safety
/// - The range is private anonymous memory, whole pages.
pub(crate) unsafe fn prefer_huge_pages(start: *mut u8, bytes: usize) {
    #[cfg(target_os = "linux")]
    // SAFETY: handed on to the caller; changes no data.
    let _refused = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE) } != 0;
    #[cfg(not(target_os = "linux"))]
    let _ = (start, bytes);
}

/// Moves whole pages out of a block, which keeps its addresses and reads as zero there afterwards; `None`, and nothing has
/// happened, where the kernel (before Linux 5.7) or the block's place does not permit it.
///
/// # Safety
/// - The range is private anonymous memory that nobody else uses meanwhile.
#[cfg(target_os = "linux")]
pub(crate) unsafe fn move_out(start: *mut u8, bytes: usize) -> Option<NonNull<u8>> {
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
    let wish = core::ptr::null_mut::<libc::c_void>(); // none, but with these flags the kernel looks at it
    // SAFETY: handed on to the caller. A start within a page is refused.
    mapping(unsafe { libc::mremap(start.cast(), bytes, bytes, flags, wish) })
}

/// Resizes a mapping of its own, moving its pages where they stand in the way; `None` without memory, and then it is as before.
///
/// # Safety
/// - It came from [`map`], [`move_out`] or here with `old` bytes; nobody else uses it meanwhile, nor what is cut off any more.
#[cfg(target_os = "linux")]
pub(crate) unsafe fn resize(start: *mut u8, old: usize, new: usize) -> Option<NonNull<u8>> {
    // SAFETY: handed on to the caller; the place is of the kernel's choice.
    mapping(unsafe { libc::mremap(start.cast(), old, new, libc::MREMAP_MAYMOVE) })
}

/// There is no such call here.
///
/// # Safety
/// - None; `unsafe` for the sake of the signature.
#[cfg(not(target_os = "linux"))]
pub(crate) unsafe fn move_out(_start: *mut u8, _bytes: usize) -> Option<NonNull<u8>> {
    None
}

/// There is no such call here.
///
/// # Safety
/// - None; `unsafe` for the sake of the signature.
#[cfg(not(target_os = "linux"))]
pub(crate) unsafe fn resize(_start: *mut u8, _old: usize, _new: usize) -> Option<NonNull<u8>> {
    None
}

fn mapping(at: *mut libc::c_void) -> Option<NonNull<u8>> {
    if at == libc::MAP_FAILED { None } else { NonNull::new(at.cast()) }
}

/// Has the C library's allocator give back what it keeps unused, where it knows how.
#[cfg(not(feature = "jemalloc"))] // else nothing of ours is there
pub(crate) fn trim_library() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes a number; locks, and does not call us.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The page size in bytes.
pub(super) fn ask_page_bytes() -> NonZeroUsize {
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().and_then(NonZeroUsize::new).unwrap_or(NonZeroUsize::new(4096).expect("not zero"))
}
