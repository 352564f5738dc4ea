//! Where the library is: beside the test program, since cargo builds it before the tests of its package.

use std::path::PathBuf;
use std::process::Command;

/// The library that programs are to be run under.
pub(crate) fn path() -> PathBuf {
    let path = folder().join("libgracealloc_preload.so");
    assert!(path.is_file(), "there is no {}", path.display());
    path
}

/// The folder it is in.
pub(crate) fn folder() -> PathBuf {
    let program = std::env::current_exe().expect("this program has a path");
    program.parent().expect("it is in a folder").to_owned()
}

/// How the allocator reaches its caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As glibc comes: restartable sequences where the kernel has them.
    Rseq,
    /// glibc is told not to register them: try-locks.
    Fallback,
}

/// Both.
pub(crate) const MODES: [Mode; 2] = [Mode::Rseq, Mode::Fallback];

impl Mode {
    /// Chooses the mode for a program that is linked with the library, or preloads it.
    pub(crate) fn choose(self, command: &mut Command) {
        match self {
            Mode::Rseq => command.env_remove("GLIBC_TUNABLES"),
            Mode::Fallback => command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0"),
        };
    }

    /// Puts the library under a program.
    pub(crate) fn preload(self, command: &mut Command) {
        self.choose(command);
        command.env("LD_PRELOAD", path());
    }
}
