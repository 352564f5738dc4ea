//! The real input: a list of Rust source files, chosen once by the driver and read by each child before its clock runs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// A list of source files, in the order in which they are worked on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Corpus {
    /// Where the files are.
    pub files: Vec<PathBuf>,
    /// Their sizes together, in bytes.
    pub bytes: u64,
}

impl Corpus {
    /// Reads a list that [`Corpus::save`] has written.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or is not such a list.
    pub fn open(list: &Path) -> Result<Self> {
        let text = fs::read_to_string(list).with_context(|| format!("reading the list {}", list.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a list of sources", list.display()))
    }

    /// Writes the list, unless the file has it already.
    ///
    /// # Errors
    ///
    /// If the file or its folder cannot be written.
    pub fn save(&self, list: &Path) -> Result<()> {
        if Self::open(list).is_ok_and(|there| there == *self) {
            return Ok(());
        }
        let write = || {
            fs::create_dir_all(list.parent().unwrap_or(Path::new(".")))?;
            fs::write(list, serde_json::to_string(self)?)
        };
        write().with_context(|| format!("writing the list {}", list.display()))
    }

    /// Reads all files.
    ///
    /// # Errors
    ///
    /// If there are none, or one cannot be read.
    pub fn texts(&self) -> Result<Vec<String>> {
        ensure!(!self.files.is_empty(), "the list of sources is empty");
        let read = |file: &PathBuf| fs::read_to_string(file).with_context(|| format!("reading {}", file.display()));
        self.files.iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_survives_the_round_trip() {
        let folder = std::env::temp_dir().join(format!("alloc-bench-corpus-{}", std::process::id()));
        let list = folder.join("list.json");
        let corpus = Corpus { files: vec!["a.rs".into(), "b.rs".into()], bytes: 12 };
        corpus.save(&list).unwrap();
        assert_eq!(Corpus::open(&list).unwrap(), corpus);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn missing_files_are_named() {
        let error = Corpus { files: vec!["no/such.rs".into()], bytes: 0 }.texts().unwrap_err();
        assert!(error.to_string().contains("no/such.rs"));
    }
}
