//! Memory, limits and CPUs straight from the kernel, without the allocator under test.

use std::fs::File;
use std::io::{self, Read};
use std::mem;
use std::ptr::{self, NonNull};

/// Maps zeroed, lazily backed memory that is never unmapped.
///
/// # Errors
/// The kernel's, such as `ENOMEM` at the address-space limit.
pub fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping touches no existing memory.
    let base = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(base.cast()).expect("the kernel maps nothing at null"))
}

/// Limits the address space to what is in use now and `headroom` bytes more, until dropped.
#[derive(Debug)]
pub struct AddressSpaceLimit {
    before: libc::rlimit,
}

impl AddressSpaceLimit {
    /// Sets the soft limit.
    ///
    /// # Errors
    /// When the kernel refuses or `/proc` is not readable.
    pub fn set(headroom: usize) -> io::Result<Self> {
        // SAFETY: an all-zero `rlimit` is a valid value.
        let mut before: libc::rlimit = unsafe { mem::zeroed() };
        // SAFETY: `before` is valid for writes.
        check(unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut before) })?;
        let now = libc::rlimit { rlim_cur: (virtual_bytes()? + headroom) as libc::rlim_t, ..before };
        // SAFETY: `now` is valid for reads.
        check(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const now) })?;
        Ok(Self { before })
    }
}

impl Drop for AddressSpaceLimit {
    fn drop(&mut self) {
        // SAFETY: `before` is valid for reads.
        let lifted = check(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const self.before) });
        crate::require!(lifted.is_ok(), "the address-space limit cannot be lifted");
    }
}

/// The size of this process's address space.
///
/// # Errors
/// When `/proc` is not readable.
pub fn virtual_bytes() -> io::Result<usize> {
    statm(0)
}

/// The resident memory of this process.
///
/// # Errors
/// When `/proc` is not readable.
pub fn resident_bytes() -> io::Result<usize> {
    statm(1)
}

/// Field `index` of `/proc/self/statm` in bytes, read without the heap.
fn statm(index: usize) -> io::Result<usize> {
    let mut text = [0; 256];
    let len = File::open("/proc/self/statm")?.read(&mut text)?;
    let field = str::from_utf8(&text[..len]).ok().and_then(|text| text.split(' ').nth(index)?.parse::<usize>().ok());
    // SAFETY: always safe to ask.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    field.map(|pages| pages * page).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The calling thread's number in the system.
#[must_use]
pub fn thread_id() -> u64 {
    // SAFETY: always safe to ask.
    unsafe { libc::gettid() }.unsigned_abs().into()
}

/// How many threads this process has.
///
/// # Errors
/// When `/proc` is not readable.
pub fn threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// The CPUs that this thread may run on.
///
/// # Errors
/// When the kernel refuses.
pub fn allowed_cpus() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero set is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is valid for writes of its size.
    check(unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) })?;
    // SAFETY: every index is below `CPU_SETSIZE`.
    Ok((0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Moves the calling thread to `cpu`, one of [`allowed_cpus`].
///
/// # Errors
/// When the kernel refuses.
pub fn move_to(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero set is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: allowed CPUs are below `CPU_SETSIZE`.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is valid for reads of its size.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) })
}

/// Turns a C return value into a result.
///
/// # Errors
/// `errno`, if `result` is negative.
pub fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
