//! The beginning of a file, without allocating: what the kernel says about the machine.

use core::ffi::CStr;

/// Reads up to the buffer's length; `None` if there is no such file.
#[cfg(all(target_os = "linux", not(miri)))]
pub(super) fn read<'a>(path: &CStr, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    // SAFETY: the path is null-terminated; the buffer and its length belong together; the descriptor is ours.
    let n = unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return None;
        }
        let n = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
        libc::close(fd);
        n
    };
    buffer.get(..usize::try_from(n).ok()?)
}

/// Other systems have no such files.
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(super) fn read<'a>(_path: &CStr, _buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    None
}
