//! The `main` of every child: one request, one measurement, one line of JSON.

use std::alloc::GlobalAlloc;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow};

use crate::protocol::{Request, Sample};
use crate::schemes::{self, Linked};
use crate::workloads::direct::{Direct, Pairs};
use crate::workloads::{self, Measures, Setup};
use crate::{measure, process};

/// Runs the request in the only argument and prints the sample, or says on standard error why there is none. `own` are
/// schemes that this child has besides everybody's, `allocator` is its global one.
pub fn main<A: GlobalAlloc + Sync>(own: &'static [Linked], allocator: &'static A) -> ExitCode {
    serve(own, Box::leak(Box::new(Direct(allocator))))
}

fn serve(own: &[Linked], direct: &'static dyn Pairs) -> ExitCode {
    abort_on_panic();
    match answer(own, direct) {
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

fn answer(own: &[Linked], direct: &'static dyn Pairs) -> Result<String> {
    let baseline_bytes = process::resident()?.now;
    let text = std::env::args().nth(1).context("this program is started by alloc-bench, with a request in JSON")?;
    let request = Request::parse(&text)?;
    process::end_after(request.limit());
    let sample = Sample { baseline_bytes, ..run(&request, own, direct)? };
    Ok(serde_json::to_string(&sample)?)
}

/// Prepares the requested workload, warms up and measures. The baseline is the caller's to fill in.
///
/// # Errors
///
/// If there is no such workload or scheme, its input cannot be read, or memory cannot be asked for.
pub fn run(request: &Request, own: &[Linked], direct: &'static dyn Pairs) -> Result<Sample> {
    let spec = workloads::find(&request.workload).ok_or_else(|| anyhow!("no workload `{}`", request.workload))?;
    let setup = Setup {
        threads: request.threads,
        scale: request.scale,
        seed: request.seed,
        corpus: request.corpus.as_deref(),
        scheme: request.scheme.as_deref().map(|name| linked(name, own)).transpose()?,
        kfree: request.kfree,
        direct,
    };
    let mut workload = (spec.prepare)(&setup).with_context(|| format!("preparing {}", spec.name))?;
    let lap = match spec.measures {
        Measures::Process => measure::run_here(workload.as_ref()),
        _ => measure::measure(workload.as_mut()),
    };
    Ok(Sample {
        ops: lap.ops * request.threads as u64,
        threads: request.threads,
        elapsed_ns: lap.elapsed.as_nanos() as u64,
        cpu_ns: lap.cpu.as_nanos() as u64,
        peak_bytes: process::resident()?.peak,
        baseline_bytes: 0,
        checksum: lap.checksum,
        latency: lap.latencies.percentiles(),
        drain_ns: lap.drain.as_nanos() as u64,
        drain_cpu_ns: lap.drain_cpu.as_nanos() as u64,
        grace_periods: lap.counters.map(|counters| counters.grace_periods),
        peak_backlog_bytes: lap.counters.map(|counters| counters.peak_backlog_bytes),
        left_bytes: lap.left_bytes,
        waiting_bytes: lap.waiting_bytes,
        settle_ns: lap.settle.map(|settle| settle.as_nanos() as u64),
    })
}

fn linked<'a>(name: &str, own: &'a [Linked]) -> Result<&'a Linked> {
    let mut all = own.iter().chain(schemes::EVERYWHERE);
    all.find(|scheme| scheme.name == name).with_context(|| format!("no scheme `{name}` with this allocator"))
}
