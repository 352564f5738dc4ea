//! Chooses the real input: Rust files of the packages that this workspace depends on.
//!
//! Only files that every run on this lock file finds again, in an order that does not depend on the machine: sorted by a
//! hash of package and path, which mixes packages, until the budget is full. Files that `syn` rejects (fragments,
//! templates) are left out here, so that children need not care.

use std::fs;
use std::path::{Path, PathBuf};

use alloc_bench::corpus::Corpus;
use anyhow::{Context, Result, ensure};
use cargo_metadata::Metadata;

/// Source text at scale 1, in bytes. Smaller scales take less, but enough to be worth the name.
const BUDGET: f64 = 500_000.0;
const LEAST_BUDGET: f64 = 100_000.0;
/// Smaller files are mostly lists of modules; larger ones would leave one thread working alone at the end.
const FILE_BYTES: std::ops::RangeInclusive<u64> = 1_000..=64_000;

/// Chooses the files.
pub(crate) fn choose(metadata: &Metadata, scale: f64) -> Result<Corpus> {
    let budget = (BUDGET * scale).clamp(LEAST_BUDGET, BUDGET) as u64;
    let mut corpus = Corpus::default();
    for file in candidates(metadata)? {
        if corpus.bytes >= budget {
            break;
        }
        if parses(&file.path) {
            corpus.bytes += file.bytes;
            corpus.files.push(file.path);
        }
    }
    ensure!(!corpus.files.is_empty(), "the workspace's dependencies have no usable source files");
    Ok(corpus)
}

struct Candidate {
    key: u64,
    path: PathBuf,
    bytes: u64,
}

/// The source files of all packages that are not of this workspace, in the order in which they are taken.
fn candidates(metadata: &Metadata) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for package in metadata.packages.iter().filter(|package| package.source.is_some()) {
        let folder = package.manifest_path.with_file_name("src").into_std_path_buf();
        for (path, bytes) in rust_files(&folder)? {
            let inside = path.strip_prefix(&folder).unwrap_or(&path).to_string_lossy();
            found.push(Candidate { key: fnv(&format!("{}/{inside}", package.name)), path, bytes });
        }
    }
    found.sort_by(|one, other| (one.key, &one.path).cmp(&(other.key, &other.path)));
    Ok(found)
}

/// All Rust files of fitting size under a folder, with their sizes. A package without that folder has none.
fn rust_files(folder: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading the folder {}", folder.display()))? {
            let path = entry?.path();
            let bytes = path.metadata()?.len();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") && FILE_BYTES.contains(&bytes) {
                found.push((path, bytes));
            }
        }
    }
    Ok(found)
}

fn parses(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| syn::parse_file(&text).is_ok())
}

/// FNV-1a: the same on every machine and with every Rust release.
fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv() {
        assert_eq!((fnv(""), fnv("a")), (0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c));
    }

    #[test]
    fn a_missing_folder_has_no_files() {
        assert!(rust_files(Path::new("/nonexistent")).unwrap().is_empty());
    }

    #[test]
    fn our_own_files_are_found_and_parse() {
        let files = rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
        assert!(files.iter().any(|(path, _)| path.ends_with("driver/sources.rs")));
        assert!(files.iter().all(|(path, _)| parses(path)));
    }
}
