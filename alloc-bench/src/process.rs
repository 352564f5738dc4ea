//! What the kernel knows of this process: memory and processor time.
//!
//! Memory comes from `/proc/self/status` and not from `getrusage`: Linux starts `ru_maxrss` of a new program at the peak
//! of the process that started it, so that every small child would report the driver's size.

use std::mem::MaybeUninit;
use std::time::Duration;

use anyhow::{Context, Result};

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// At this moment.
    pub now: u64,
    /// The most since the program started.
    pub peak: u64,
}

/// Asks the kernel for this process' resident memory.
///
/// # Errors
///
/// If `/proc` is not mounted or has no such fields (this benchmark needs Linux).
pub fn resident() -> Result<Resident> {
    let status = std::fs::read_to_string("/proc/self/status").context("peak memory is read from /proc/self/status")?;
    Ok(Resident { now: kibibytes(&status, "VmRSS:")?, peak: kibibytes(&status, "VmHWM:")? })
}

fn kibibytes(status: &str, field: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let value = line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|value| value.trim().parse::<u64>().ok());
    Ok(value.with_context(|| format!("/proc/self/status has no line `{field} <number> kB`"))? * 1024)
}

/// The processor time of all threads of this process, ended ones included.
///
/// # Panics
///
/// If the kernel has no such clock, which POSIX demands.
pub fn cpu_time() -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is valid for a timespec.
    let answer = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, time.as_mut_ptr()) };
    assert_eq!(answer, 0, "CLOCK_PROCESS_CPUTIME_ID is not readable");
    // SAFETY: the call succeeded and has filled it.
    let time = unsafe { time.assume_init() };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The processor time of all child processes that have ended and were waited for, in user and in kernel.
///
/// # Panics
///
/// If the kernel does not tell, which POSIX demands.
pub fn childrens_cpu_time() -> Duration {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: the pointer is valid for a rusage.
    let answer = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(answer, 0, "RUSAGE_CHILDREN is not readable");
    // SAFETY: the call succeeded and has filled it.
    let usage = unsafe { usage.assume_init() };
    let duration = |time: libc::timeval| Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000);
    duration(usage.ru_utime) + duration(usage.ru_stime)
}

/// Lets the kernel end this process by SIGALRM after `limit` (whole seconds), so that a hung allocator cannot hang the
/// driver, which then need not wake up to watch.
pub fn end_after(limit: Duration) {
    let seconds = limit.as_secs().clamp(1, u64::from(u32::MAX)) as libc::c_uint;
    // SAFETY: alarm has no preconditions.
    unsafe { libc::alarm(seconds) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_at_least_what_is_resident() {
        let resident = resident().unwrap();
        assert!(resident.now > 0 && resident.peak >= resident.now);
    }

    #[test]
    fn a_status_without_the_field_is_an_error() {
        assert!(kibibytes("Name:\tx\nVmRSS:\t12 kB\n", "VmHWM:").is_err());
        assert_eq!(kibibytes("Name:\tx\nVmRSS:\t12 kB\n", "VmRSS:").unwrap(), 12 * 1024);
    }

    #[test]
    fn what_an_ended_child_took_is_seen() {
        let before = childrens_cpu_time();
        let busy = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
        assert!(std::process::Command::new("sh").args(["-c", busy]).status().unwrap().success());
        assert!(childrens_cpu_time() > before);
    }

    #[test]
    fn cpu_time_advances_with_work() {
        let before = cpu_time();
        while cpu_time() == before {}
    }
}
