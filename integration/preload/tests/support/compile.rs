//! Programs from C and C++, with the machine's compilers (`CC`, `CXX`). A C compiler is part of what building the workspace
//! needs, so it is not optional.

use super::library;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder of the package.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder for what a test makes, empty.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("preload").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Makes `folder/name` from a file of the package that does without the library.
pub(crate) fn c(folder: &Path, name: &str, source: &str, flags: &[&str]) -> PathBuf {
    let mut words: Vec<&OsStr> = flags.iter().map(OsStr::new).collect();
    words.extend(["-Wno-deprecated-declarations", "-pthread"].map(OsStr::new));
    compile("CC", "cc", folder, name, source, &words)
}

/// The same for one that includes `gracealloc.h` and is linked with the library.
pub(crate) fn c_with_library(folder: &Path, name: &str, source: &str) -> PathBuf {
    let (include, at) = (package().join("include"), library::folder());
    let search: Vec<_> = ["-L", "-Wl,-rpath,"].map(|flag| format!("{flag}{}", at.display())).into();
    let mut words = vec![OsStr::new("-I"), include.as_os_str(), OsStr::new("-pthread")];
    words.extend(search.iter().map(OsStr::new));
    words.push(OsStr::new("-lgracealloc_preload"));
    compile("CC", "cc", folder, name, source, &words)
}

/// From C++; `None` where there is no compiler.
pub(crate) fn cxx(folder: &Path, name: &str, source: &str, flags: &[&str]) -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    Command::new(compiler).arg("--version").output().ok()?;
    let mut words: Vec<&OsStr> = flags.iter().map(OsStr::new).collect();
    words.extend(["-std=c++17", "-pthread"].map(OsStr::new));
    Some(compile("CXX", "c++", folder, name, source, &words))
}

fn compile(variable: &str, usual: &str, folder: &Path, name: &str, source: &str, words: &[&OsStr]) -> PathBuf {
    let program = folder.join(name);
    let mut command = Command::new(std::env::var(variable).unwrap_or_else(|_| usual.into()));
    command.args(["-O1", "-Wall", "-Wextra", "-Werror"]).arg(package().join(source));
    let output = command.args(words).arg("-o").arg(&program).output().expect("there is a compiler");
    assert!(output.status.success(), "{source}: {}", String::from_utf8_lossy(&output.stderr));
    program
}
