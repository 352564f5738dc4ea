//! The allocators under comparison.
//!
//! To add one: a line here, a file of a few lines in `src/bin/`, the crate in `Cargo.toml`. Peers that a run measures only
//! if they are asked for have these in the package in `peers/`, and a cargo feature there; see [`Home`].

/// One allocator and the child binary that is linked with it.
#[derive(Debug)]
pub struct Allocator {
    /// As the command line and the tables call it.
    pub name: &'static str,
    /// The child binary, without path.
    pub binary: &'static str,
    /// The package that the binary belongs to.
    pub home: Home,
    /// The packages whose versions say what was measured.
    pub packages: &'static [&'static str],
    /// Whether it is the one that the others are peers of.
    pub is_ours: bool,
}

/// Where a child binary comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// This package: measured by default, and built with no more than a C compiler.
    Here,
    /// The package in `peers/`, with the feature that is called like the allocator: measured if asked for.
    Peers {
        /// Whether it is written in C++.
        needs_cxx: bool,
    },
}

/// Every known allocator, ours first.
pub static ALL: &[Allocator] = &[
    Allocator {
        name: "gracealloc",
        binary: "child-gracealloc",
        home: Home::Here,
        packages: &["gracealloc"],
        is_ours: true,
    },
    here("jemalloc", "child-jemalloc", &["tikv-jemallocator", "tikv-jemalloc-sys"]),
    here("mimalloc", "child-mimalloc", &["mimalloc", "libmimalloc-sys"]),
    here("system", "child-system", &[]),
    more("snmalloc", "child-snmalloc", true, &["snmalloc-rs", "snmalloc-sys"]),
    more("tcmalloc", "child-tcmalloc", true, &["tcmalloc-better", "libtcmalloc-sys"]),
    more("rusty_alloc", "child-rusty_alloc", false, &["rusty_alloc-api", "rusty_alloc"]),
    more("rpmalloc", "child-rpmalloc", false, &["rpmalloc", "rpmalloc-sys"]),
];

/// A peer of every run.
const fn here(name: &'static str, binary: &'static str, packages: &'static [&'static str]) -> Allocator {
    Allocator { name, binary, home: Home::Here, packages, is_ours: false }
}

/// A peer of the runs that ask for it.
const fn more(
    name: &'static str,
    binary: &'static str,
    needs_cxx: bool,
    packages: &'static [&'static str],
) -> Allocator {
    Allocator { name, binary, home: Home::Peers { needs_cxx }, packages, is_ours: false }
}

/// Finds an allocator by its name.
pub fn find(name: &str) -> Option<&'static Allocator> {
    ALL.iter().find(|allocator| allocator.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_is_ours() {
        assert_eq!(ALL.iter().filter(|allocator| allocator.is_ours).count(), 1);
    }

    #[test]
    fn each_is_found_by_its_name() {
        assert!(ALL.iter().all(|allocator| std::ptr::eq(find(allocator.name).unwrap(), allocator)));
        assert!(find("malloc9000").is_none());
    }
}
