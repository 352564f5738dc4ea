//! Programs that nobody here wrote, and what they are given to do.

use super::compile::{package, scratch};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program with its work.
#[derive(Debug)]
pub(crate) struct Program {
    /// As the tables call it.
    pub(crate) name: &'static str,
    /// What must be installed.
    pub(crate) needs: &'static [&'static str],
    /// Its command line: `{scripts}`, `{scratch}`, `{repository}` and `{python}` are folders and files of this machine.
    line: &'static str,
}

/// What is run by default: some seconds each.
pub(crate) static SHORT: &[Program] = &[
    python("python: json", "test.test_json.test_decode test.test_json.test_dump"),
    python("python: pickle", "test.test_pickle.CPicklerTests"),
    python("python: ctypes", "ctypes.test_callbacks ctypes.test_structures ctypes.test_arrays ctypes.test_strings"),
    python("python: threading", "test.test_threading.ThreadJoinOnShutdown"),
    python("python: multiprocessing", "multiprocessing.WithProcessesTestQueue"),
    Program { name: "perl", needs: &["perl"], line: "perl {scripts}/work.pl" },
    Program { name: "sqlite3", needs: &["sqlite3"], line: "sqlite3 {scratch}/base -init {scripts}/work.sql .quit" },
    Program { name: "node", needs: &["node"], line: "node {scripts}/work.js" },
    Program { name: "git", needs: &["git"], line: "sh {scripts}/git.sh {repository} {scratch}/repository" },
    Program { name: "redis", needs: REDIS, line: "sh {scripts}/redis.sh {scratch}/redis 6000" },
];

/// What takes minutes: the whole of what the short form has parts of.
pub(crate) static LONG: &[Program] = &[
    python("python: json, all of it", "test.test_json"),
    python("python: pickle, all of it", "test.test_pickle"),
    python("python: ctypes, all of it", "ctypes"),
    python("python: threading, all of it", "test.test_threading"),
    python("python: multiprocessing, all that forks", "multiprocessing"),
    Program { name: "redis, 200,000 requests", needs: REDIS, line: "sh {scripts}/redis.sh {scratch}/redis 200000" },
];

const REDIS: &[&str] = &["redis-server", "redis-benchmark", "redis-cli"];

const fn python(name: &'static str, parts: &'static str) -> Program {
    Program { name, needs: &["python3"], line: parts }
}

impl Program {
    /// Its command; why not, where this machine does not have what it needs.
    pub(crate) fn command(&self) -> Result<impl Fn() -> Command + use<'_>, String> {
        for program in self.needs {
            find(program).ok_or_else(|| format!("{}: there is no {program}", self.name))?;
        }
        if self.line.contains("{repository}") && !is_repository(&root()) {
            return Err(format!("{}: {} is no repository", self.name, root().display()));
        }
        let python = if self.needs == ["python3"] { Some(python_with_tests(self.name)?) } else { None };
        Ok(move || {
            let folder = scratch(&self.name.replace(|letter: char| !letter.is_alphanumeric(), "-"));
            let fill = |word: &str| {
                let word = word.replace("{scripts}", &scripts().to_string_lossy());
                let word = word.replace("{repository}", &root().to_string_lossy());
                word.replace("{scratch}", &folder.to_string_lossy())
            };
            let mut words = self.line.split_whitespace().map(fill);
            let mut command = match &python {
                Some(python) => {
                    let mut command = Command::new(python);
                    command.arg(scripts().join("python_suite.py"));
                    command
                }
                None => Command::new(words.next().expect("a program")),
            };
            command.args(words).current_dir(&folder);
            command
        })
    }
}

fn scripts() -> PathBuf {
    package().join("tests/scripts")
}

fn root() -> PathBuf {
    package().join("../..")
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_repository(folder: &Path) -> bool {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["rev-parse", "HEAD"]).stdout(Stdio::null()).stderr(Stdio::null());
    git.status().is_ok_and(|status| status.success())
}

/// The interpreter itself, which may stand behind a script, if it has its `test` package.
fn python_with_tests(name: &str) -> Result<PathBuf, String> {
    let ask = "import sys, test.test_json, _ctypes; print(sys.executable)";
    let output = Command::new("python3").args(["-c", ask]).output().map_err(|error| format!("{name}: {error}"))?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() { Ok(path.into()) } else { Err(format!("{name}: python3 has no `test` package here")) }
}
