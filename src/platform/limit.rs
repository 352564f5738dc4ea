//! How much memory this process may use: the machine's, or less if its control group has a limit.

use super::file::read;
use core::ffi::CStr;

/// Bytes; 0 where nothing is known. Reads files: only where that may happen.
pub(crate) fn memory_bytes() -> usize {
    match (machine(), control_group()) {
        (0, limit) => limit.unwrap_or(0),
        (machine, limit) => limit.map_or(machine, |limit| limit.min(machine)),
    }
}

#[cfg(all(unix, not(miri)))]
fn machine() -> usize {
    // SAFETY: asks for numbers.
    let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    usize::try_from(pages).unwrap_or(0).saturating_mul(usize::try_from(page).unwrap_or(0))
}

#[cfg(not(all(unix, not(miri))))]
fn machine() -> usize {
    0
}

/// The lowest limit of this process's control group and the one at the root, which inside a container is the container's.
fn control_group() -> Option<usize> {
    let mut buffer = [0; 512];
    let mut path = [0; 600];
    let own = read(c"/proc/self/cgroup", &mut buffer).and_then(|text| limit_path(text, &mut path)).and_then(number_in);
    let root = number_in(c"/sys/fs/cgroup/memory.max");
    let version_1 = number_in(c"/sys/fs/cgroup/memory/memory.limit_in_bytes");
    [own, root, version_1].into_iter().flatten().min()
}

/// The file with the limit of the group that `/proc/self/cgroup` names in its line `0::<group>`.
fn limit_path<'a>(text: &[u8], path: &'a mut [u8]) -> Option<&'a CStr> {
    let line = text.split(|&b| b == b'\n').find(|line| line.starts_with(b"0::/"))?;
    let parts = [&b"/sys/fs/cgroup"[..], &line[3..], b"/memory.max\0"];
    let mut len = 0;
    for part in parts {
        path.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    CStr::from_bytes_with_nul(&path[..len]).ok()
}

fn number_in(path: &CStr) -> Option<usize> {
    let mut buffer = [0; 32];
    core::str::from_utf8(read(path, &mut buffer)?).ok()?.trim().parse().ok() // "max" is no number, and no limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_the_one_of_the_second_version() {
        let mut path = [0; 64];
        let found = limit_path(b"5:memory:/a\n0::/user.slice\n", &mut path).unwrap();
        assert_eq!(found, c"/sys/fs/cgroup/user.slice/memory.max");
        assert!(limit_path(b"5:memory:/a\n", &mut path).is_none());
        assert!(limit_path(b"0::/much/too/long/for/the/buffer/that/it/is/written/to\n", &mut path).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the system")]
    fn there_is_some_memory() {
        assert!(memory_bytes() > 1 << 20);
    }
}
