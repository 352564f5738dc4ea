//! How many CPUs there can ever be.
//!
//! CPU numbers may have gaps and CPUs may be added while the process runs, so per-CPU arrays are sized by the highest
//! *possible* number, not by how many are online. That number is read from a file. Sections, which do not compare the number
//! they find, also need a bound that holds where a sandbox hides the file: the kernel's own CPU masks have so many bits.

use super::file;

/// More than any machine has: a wrong file must not make us map the world.
const MOST: u32 = 1 << 16;

/// Where the file cannot be read, as many CPU numbers may be taken for possible.
const UNSAID: u32 = 1024;

/// One more than the highest possible CPU number; at least 1.
pub(super) fn possible() -> u32 {
    from_kernel().unwrap_or_else(configured).clamp(1, MOST)
}

/// The CPU numbers of this kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    /// One more than the highest possible one.
    pub(super) possible: u32,
    /// None reaches this, whatever was forged.
    pub(super) bound: u32,
}

/// `None` where the kernel tells too little.
pub(super) fn numbers() -> Option<Numbers> {
    let allowed = allowed()?;
    let possible = match from_kernel() {
        Some(said) => said.max(allowed.cpus).min(allowed.bits),
        // What this thread may use now is no bound: its set may be widened.
        None if allowed.bits <= UNSAID => allowed.bits,
        None => return None,
    };
    Some(Numbers { possible, bound: allowed.bits })
}

/// The CPUs that this thread may run on.
struct Allowed {
    /// One more than the highest of them.
    cpus: u32,
    /// Of the kernel's mask, set or not.
    bits: u32,
}

#[cfg(all(target_os = "linux", not(miri)))]
fn allowed() -> Option<Allowed> {
    let mut mask = [0u64; 128];
    // SAFETY: the kernel writes at most that many bytes, and returns how many its masks have (libc's wrapper does not).
    let bytes = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&mask), mask.as_mut_ptr()) };
    let word = mask.iter().rposition(|&word| word != 0)?;
    let cpus = (word as u32 + 1) * 64 - mask[word].leading_zeros();
    Some(Allowed { cpus, bits: u32::try_from(bytes).ok()? * 8 })
}

#[cfg(not(all(target_os = "linux", not(miri))))]
fn allowed() -> Option<Allowed> {
    None
}

fn from_kernel() -> Option<u32> {
    let mut text = [0; 1024];
    highest(file::read(c"/sys/devices/system/cpu/possible", &mut text)?).map(|h| h.saturating_add(1))
}

#[cfg(unix)]
fn configured() -> u32 {
    // SAFETY: asks for a number.
    let n = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    u32::try_from(n).unwrap_or(1)
}

#[cfg(not(unix))]
fn configured() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u32)
}

/// The highest number in a kernel CPU list such as `0-3,8-11`.
fn highest(list: &[u8]) -> Option<u32> {
    list.split(|b| !b.is_ascii_digit()).filter_map(|n| core::str::from_utf8(n).ok()?.parse().ok()).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_of_a_list_counts_gaps() {
        assert_eq!(highest(b"0\n"), Some(0));
        assert_eq!(highest(b"0-1\n"), Some(1));
        assert_eq!(highest(b"0-3,8-11,64\n"), Some(64));
        assert_eq!(highest(b"\n"), None);
        assert_eq!(highest(b"99999999999"), None);
    }

    #[test]
    fn there_is_at_least_one_cpu() {
        assert!(possible() >= 1);
    }

    #[test]
    fn the_kernel_bounds_what_the_file_says() {
        let said = possible();
        assert!(numbers().is_none_or(|numbers| (said..=numbers.bound).contains(&numbers.possible)));
        assert!(allowed().is_none_or(|mask| (1..=said).contains(&mask.cpus)));
    }
}
