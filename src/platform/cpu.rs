//! How many CPUs there can ever be.
//!
//! CPU numbers may have gaps and CPUs may be added while the process runs, so per-CPU arrays are sized by the highest
//! *possible* number, not by how many are online.

use super::file;

/// More than any machine has: a wrong file must not make us map the world.
const MOST: u32 = 1 << 16;

/// One more than the highest possible CPU number; at least 1.
pub(super) fn possible() -> u32 {
    from_kernel().unwrap_or_else(configured).clamp(1, MOST)
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
}
