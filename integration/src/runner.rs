//! Runs a program under a time limit and reads its summary.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use wait_timeout::ChildExt;

use crate::Summary;

/// How the allocator reaches its per-CPU slots.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// As glibc comes: rseq, where the kernel has it.
    Rseq,
    /// glibc is told not to register rseq: the fallback.
    Fallback,
}

impl Mode {
    /// Fails where a program that tells whether it used rseq was not in this mode. (This process having rseq, its
    /// children can have it; where it has none, perhaps only this process was told to do without.)
    fn check(self, rseq: bool) {
        match self {
            Mode::Rseq => assert!(rseq || !this_process_has_rseq(), "the program did not use rseq"),
            Mode::Fallback => assert!(!rseq, "the program used rseq although it was told not to"),
        }
    }
}

fn this_process_has_rseq() -> bool {
    // SAFETY: the name ends with a null byte.
    let size = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_size".as_ptr()) };
    // SAFETY: where it exists, it is glibc's `const unsigned int`: 0 unless rseq is registered.
    unsafe { size.cast::<u32>().as_ref() }.is_some_and(|&size| size != 0)
}

/// A program with its arguments.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Its name, with which its summary begins.
    pub name: &'static str,
    /// The executable.
    pub path: &'static str,
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// When it is taken to hang.
    pub limit: Duration,
}

impl Program {
    /// Runs it and hands the figures of its summary to `judge`.
    ///
    /// # Panics
    /// When the program hangs, fails or prints no summary.
    pub fn run(&self, mode: Mode, judge: impl FnOnce(&dyn Fn(&str) -> u64)) {
        let mut child = self.start(mode);
        let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
        let status = child.wait_timeout(self.limit).expect("the program can be waited for");
        if status.is_none() {
            kill_group(&mut child);
        }
        let (out, err) = (out.join().expect("read"), err.join().expect("read"));
        let context = format!("{} {mode:?}\n--- output\n{out}--- errors\n{err}", self.name);
        let status = status.unwrap_or_else(|| panic!("no end within {:?}: {context}", self.limit));
        assert!(status.success(), "{status}: {context}");
        let summary = out.lines().find_map(|line| Summary::parse(line, self.name));
        let summary = summary.unwrap_or_else(|| panic!("no summary: {context}"));
        println!("{mode:?} {summary}");
        if let Some(rseq) = summary.get("rseq") {
            mode.check(rseq == 1);
        }
        judge(&|figure| summary.get(figure).unwrap_or_else(|| panic!("no figure {figure}: {context}")));
    }

    fn start(&self, mode: Mode) -> Child {
        let mut command = Command::new(self.path);
        command.args(self.arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that a program which hangs is killed with its children.
        command.process_group(0);
        match mode {
            Mode::Rseq => command.env_remove("GLIBC_TUNABLES"),
            Mode::Fallback => command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0"),
        };
        command.spawn().expect("the program starts")
    }
}

/// Reads a pipe to its end beside the program, which must not block on a full one.
fn collect(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut pipe = pipe.expect("piped");
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("the pipe can be read");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn kill_group(child: &mut Child) {
    // SAFETY: the group was made for this child, which has not been reaped: the id is still its own.
    unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
    child.wait().expect("a killed program ends");
}

/// Two tests of one [`Program`], named by behaviour: with rseq and with the fallback.
#[macro_export]
macro_rules! with_both_modes {
    ($behaviour:ident, $program:expr, $judge:expr) => {
        mod $behaviour {
            use super::*;
            use $crate::runner::Mode;

            #[test]
            fn with_rseq() {
                $program.run(Mode::Rseq, $judge);
            }

            #[test]
            fn with_fallback() {
                $program.run(Mode::Fallback, $judge);
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &'static [&'static str]) -> Program {
        let limit = Duration::from_millis(500);
        Program { name: "shell", path: "/bin/sh", arguments: script, limit }
    }

    #[test]
    fn figures_reach_the_judge() {
        let program = shell(&["-c", "echo shell: tunables=${#GLIBC_TUNABLES}"]);
        program.run(Mode::Rseq, |figure| assert_eq!(figure("tunables"), 0));
        program.run(Mode::Fallback, |figure| assert_eq!(figure("tunables"), 20));
    }

    #[test]
    #[should_panic(expected = "no end within")]
    fn a_hanging_program_fails_and_its_children_die() {
        // The child holds the pipes open: without killing it the test would hang.
        shell(&["-c", "echo shell: done=1; sleep 1000; true"]).run(Mode::Rseq, |_| ());
    }

    #[test]
    #[should_panic(expected = "exit status: 3")]
    fn a_failing_program_fails_despite_a_summary() {
        shell(&["-c", "echo shell: done=1; exit 3"]).run(Mode::Rseq, |_| ());
    }

    #[test]
    #[should_panic(expected = "no summary")]
    fn a_silent_program_fails() {
        shell(&["-c", "true"]).run(Mode::Rseq, |_| ());
    }
}
