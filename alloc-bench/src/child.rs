//! The `main` of every child: one request, one measurement, one line of JSON.

use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};

use crate::protocol::{Request, Sample};
use crate::workloads::{self, Setup};
use crate::{measure, process};

/// Runs the request in the only argument and prints the sample, or says on standard error why there is none.
pub fn main() -> ExitCode {
    abort_on_panic();
    match answer() {
        Ok(sample) => {
            println!("{sample}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A thread that panics must not leave the others at the barrier for ever.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn answer() -> Result<String> {
    let baseline_bytes = process::resident()?.now;
    let text = std::env::args().nth(1).context("this program is started by alloc-bench, with a request in JSON")?;
    let request = Request::parse(&text)?;
    process::end_after(request.limit());
    let sample = Sample { baseline_bytes, ..run(&request)? };
    Ok(serde_json::to_string(&sample)?)
}

/// Prepares the requested workload, warms up and measures. The baseline is the caller's to fill in.
///
/// # Errors
///
/// If there is no such workload, its input cannot be read, or memory cannot be asked for.
pub fn run(request: &Request) -> Result<Sample> {
    let spec = workloads::find(&request.workload).ok_or_else(|| anyhow!("no workload `{}`", request.workload))?;
    let setup =
        Setup { threads: request.threads, scale: request.scale, seed: request.seed, corpus: request.corpus.as_deref() };
    let workload = (spec.prepare)(&setup).with_context(|| format!("preparing {}", spec.name))?;
    let lap = measure::measure(workload.as_ref());
    Ok(Sample {
        ops: lap.ops * request.threads as u64,
        threads: request.threads,
        elapsed_ns: lap.elapsed.as_nanos() as u64,
        cpu_ns: lap.cpu.as_nanos() as u64,
        peak_bytes: process::resident()?.peak,
        baseline_bytes: 0,
        checksum: lap.checksum,
        latency: lap.latencies.percentiles(),
    })
}
