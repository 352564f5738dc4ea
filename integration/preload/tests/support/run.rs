//! Runs a program under a time limit.

use std::io::Read;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How it went.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it said.
    pub(crate) out: String,
    /// What it complained about.
    pub(crate) err: String,
    /// From its start to its end.
    pub(crate) elapsed: Duration,
    /// The most memory it, or one of its children that it waited for, had resident.
    pub(crate) peak_bytes: u64,
}

impl Outcome {
    /// The exit code, or the signal in words.
    pub(crate) fn end(&self) -> String {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exit {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        }
    }
}

/// Runs it, in a process group of its own which is killed if the program does not end in time.
#[allow(clippy::zombie_processes)] // `wait` does, for what it took
pub(crate) fn run(command: &mut Command, limit: Duration) -> Outcome {
    let what = format!("{command:?}");
    let start = Instant::now();
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
    let (out, err) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let group = -child.id().cast_signed();
    let (ended, end) = mpsc::channel::<()>();
    let watch = thread::spawn(move || {
        let late = end.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            // SAFETY: the group was made for this child, which has not been waited for: the number is still its own.
            unsafe { libc::kill(group, libc::SIGKILL) };
        }
        late
    });
    let (status, peak_bytes) = wait(child.id().cast_signed());
    let elapsed = start.elapsed();
    drop(ended);
    assert!(!watch.join().expect("the watch ends"), "no end within {limit:?}: {what}");
    let text = |thread: JoinHandle<String>| thread.join().expect("read");
    Outcome { status, out: text(out), err: text(err), elapsed, peak_bytes }
}

fn wait(child: libc::pid_t) -> (ExitStatus, u64) {
    let (mut status, mut usage) = (0, MaybeUninit::<libc::rusage>::zeroed());
    // SAFETY: both are ours to write; all zero is a value of the second.
    unsafe {
        while libc::wait4(child, &mut status, 0, usage.as_mut_ptr()) != child {}
        (ExitStatus::from_raw(status), usage.assume_init().ru_maxrss.cast_unsigned() * 1024)
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
