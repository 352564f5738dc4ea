//! One measurement: a child that is started, asked, and waited for; or many of them, where starting and ending is what is
//! measured.
//!
//! A child is a process group of its own: Ctrl-C reaches only the driver, and the measurement in progress (a fraction of
//! a second) comes to its end.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use alloc_bench::process;
use alloc_bench::protocol::{Request, Sample};
use alloc_bench::workloads::{Measures, Spec, first_touch};
use anyhow::{Context, Result, bail, ensure};

/// Measures a workload once with this program.
pub(super) fn take(workload: &Spec, program: &Path, request: &Request) -> Result<Sample> {
    match workload.measures {
        Measures::Process => processes(program, request, first_touch::processes(request.scale)),
        _ => one(program, request),
    }
}

/// Starts as many processes one after the other. Their time is ours, from before the first until after the last; their
/// memory the largest one's. What the driver adds is the same for all allocators.
fn processes(program: &Path, request: &Request, count: u64) -> Result<Sample> {
    let (start, cpu) = (Instant::now(), process::childrens_cpu_time());
    let mut all = one(program, request)?;
    for _ in 1..count {
        let next = one(program, request)?;
        ensure!(next.checksum == all.checksum, "two processes came to different checksums");
        all.peak_bytes = all.peak_bytes.max(next.peak_bytes);
    }
    let cpu = process::childrens_cpu_time().saturating_sub(cpu);
    let (elapsed_ns, cpu_ns) = (start.elapsed().as_nanos() as u64, cpu.as_nanos() as u64);
    Ok(Sample { ops: count, elapsed_ns, cpu_ns, ..all })
}

/// Runs one child.
fn one(program: &Path, request: &Request) -> Result<Sample> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let what = || format!("{name}, {} with {} threads", request.workload, request.threads);
    let mut command = Command::new(program);
    command.arg(serde_json::to_string(request)?).process_group(0);
    let output = command.output().with_context(|| format!("starting {}", program.display()))?;
    answer(&output).with_context(what)
}

fn answer(output: &Output) -> Result<Sample> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    match (output.status.code(), output.status.signal()) {
        (Some(0), _) => serde_json::from_slice(&output.stdout).context("its answer is not a sample in JSON"),
        (_, Some(libc::SIGALRM)) => {
            bail!("did not finish in hundreds of times what it should take: it hangs")
        }
        (_, Some(signal)) => bail!("was killed by signal {signal}: {}", complaint.trim()),
        _ => bail!("{}", complaint.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_fails_is_quoted() {
        let output = Command::new("sh").args(["-c", "echo no memory >&2; exit 1"]).output().unwrap();
        assert_eq!(answer(&output).unwrap_err().to_string(), "no memory");
        let output = Command::new("sh").args(["-c", "kill -ALRM $$"]).output().unwrap();
        assert!(answer(&output).unwrap_err().to_string().contains("hangs"));
    }
}
