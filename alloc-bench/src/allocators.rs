//! The allocators under comparison.
//!
//! To add one: a line here, a file of a few lines in `src/bin/`, the crate in `Cargo.toml`. A peer that needs more than
//! a C compiler goes behind a cargo feature, named here and as the binary's `required-features`.

/// One allocator and the child binary that is linked with it.
#[derive(Debug)]
pub struct Allocator {
    /// As the command line and the tables call it.
    pub name: &'static str,
    /// The child binary, without path.
    pub binary: &'static str,
    /// The cargo feature of this package that its binary needs.
    pub feature: Option<&'static str>,
    /// The packages whose versions say what was measured.
    pub packages: &'static [&'static str],
    /// Whether it is the one that the others are peers of.
    pub is_ours: bool,
}

/// Every known allocator, ours first.
pub static ALL: &[Allocator] = &[
    Allocator {
        name: "gracealloc",
        binary: "child-gracealloc",
        feature: None,
        packages: &["gracealloc"],
        is_ours: true,
    },
    Allocator {
        name: "jemalloc",
        binary: "child-jemalloc",
        feature: None,
        packages: &["tikv-jemallocator", "tikv-jemalloc-sys"],
        is_ours: false,
    },
    Allocator {
        name: "mimalloc",
        binary: "child-mimalloc",
        feature: None,
        packages: &["mimalloc", "libmimalloc-sys"],
        is_ours: false,
    },
    Allocator { name: "system", binary: "child-system", feature: None, packages: &[], is_ours: false },
];

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
