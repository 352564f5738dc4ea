//! What it all ran on, in general words: nothing that names the machine or its owner.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::{Metadata, MetadataCommand};
use serde::Serialize;

/// Settings of allocators that would change what is measured.
const TUNING: &[&str] = &[
    "GRACEALLOC_",
    "MALLOC_",
    "_RJEM_MALLOC_",
    "JE_MALLOC_",
    "MIMALLOC_",
    "TCMALLOC_",
    "GLIBC_TUNABLES",
    "LD_PRELOAD",
];

/// The machine and the tools.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    processor: String,
    processors: usize,
    kernel: String,
    rustc: String,
}

impl Machine {
    /// Looks around; what cannot be learnt is "unknown".
    pub(crate) fn here() -> Self {
        Self {
            processor: processor().unwrap_or_else(unknown),
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |it| it.trim().into()),
            rustc: said_by_rustc("release:").unwrap_or_else(|_| unknown()),
        }
    }

    /// The machine in one line.
    pub(crate) fn in_words(&self) -> String {
        let Self { processor, processors, kernel, rustc } = self;
        let plural = if *processors == 1 { "" } else { "s" };
        format!("{processors} processor{plural} ({processor}), Linux {}, Rust {rustc}", release(kernel))
    }
}

/// The kernel's version without what its builder has appended.
fn release(kernel: &str) -> &str {
    kernel.split(|letter: char| !(letter.is_ascii_digit() || letter == '.')).next().unwrap_or_default()
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn said_by_rustc(field: &str) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output().context("asking rustc for its version")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    Ok(line.with_context(|| format!("rustc -vV says no `{field}`"))?.trim().to_owned())
}

/// The cargo that started us, or the one in the path.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where this package's manifest was when it was compiled.
pub(crate) fn package_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where the package of further peers is: a workspace of its own.
pub(crate) fn peers_folder() -> PathBuf {
    package_folder().join("peers")
}

/// What cargo knows of the workspace in `folder` with these features, for this platform only: others' packages need not be
/// there.
pub(crate) fn metadata(folder: &Path, features: &[&str]) -> Result<Metadata> {
    let mut command = MetadataCommand::new();
    command.cargo_path(cargo()).current_dir(folder);
    let (features, host) = (features.join(","), said_by_rustc("host:")?);
    command.other_options(["--locked", "--features", &features, "--filter-platform", &host].map(str::to_owned));
    command.exec().context("asking cargo for a workspace's dependencies")
}

/// The versions of these packages, in the first workspace that has them.
pub(crate) fn versions(
    workspaces: &[Metadata],
    packages: impl Iterator<Item = &'static str>,
) -> BTreeMap<String, String> {
    let all = || workspaces.iter().flat_map(|metadata| &metadata.packages);
    let of_package = |name: &str| all().find(|package| package.name == name);
    packages.filter_map(|name| Some((name.to_string(), of_package(name)?.version.to_string()))).collect()
}

/// The environment's settings of allocators; they reach the children.
pub(crate) fn tuning() -> BTreeMap<String, String> {
    let is_tuning = |(name, _): &(String, String)| TUNING.iter().any(|start| name.starts_with(start));
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    std::env::vars_os().filter_map(text).filter(is_tuning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_nothing_that_the_kernels_builder_has_appended() {
        let words = |text: &str| text.to_owned();
        let (processor, kernel, rustc) = (words("some model"), words("6.18.5-of-somebody"), words("1.95.0"));
        let machine = Machine { processor, processors: 2, kernel, rustc };
        assert_eq!(machine.in_words(), "2 processors (some model), Linux 6.18.5, Rust 1.95.0");
    }
}
