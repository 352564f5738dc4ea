//! The driver, in the order of its work:
//!
//! ```text
//! options     what to measure
//! children    build them, one per allocator; refuse unfair profiles
//! sources     choose the source files that real programs read
//! contenders  who takes part: allocators, or pairs of an allocator and a scheme
//! rounds      whose turn it is; progress
//! measurement starts a child, or many
//! report      the figures, as they go into the JSON file
//!   deferral    those of the workloads that retire objects
//!   goals       and what they are to reach
//! tables      the figures, as they are printed
//!   deferral    likewise
//! document    and all of it as a document
//! machine     what it all ran on
//! ```

mod children;
mod contenders;
mod deferral;
mod document;
mod goals;
mod machine;
mod measurement;
pub(crate) mod options;
mod progress;
mod report;
mod rounds;
mod sources;
mod tables;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use alloc_bench::allocators::{Allocator, Home};
use alloc_bench::workloads::Spec;
use anyhow::{Context, Result, ensure};
use cargo_metadata::Metadata;

use self::children::Children;
use self::options::Options;
use self::report::Report;

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: u8 = 130;

/// When Ctrl-C was first pressed. Pressed again, it ends the program at once.
static STOPPED: OnceLock<Instant> = OnceLock::new();
/// Signals closer together than this are one key press: some programs pass it on to a child and to its whole group.
const ONE_PRESS: Duration = Duration::from_millis(500);

/// Does what the options say.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        print!("{}", tables::list());
        return Ok(ExitCode::SUCCESS);
    }
    let measured = |spec: &Spec| !contenders::of(spec, options).is_empty();
    ensure!(options.workloads().into_iter().any(measured), "these options leave nothing to measure");
    [&options.json, &options.markdown].into_iter().flatten().try_for_each(|file| prepare(file))?;
    let metadata = machine::metadata(machine::package_folder(), &[])?;
    let children = Children::ready(options, metadata.target_directory.as_std_path())?;
    let sources = sources(options, &metadata)?;
    let versions = versions(options, metadata)?;
    stop_at_ctrl_c()?;
    let (rows, outcome) = rounds::run(options, &children, sources.as_ref().map(|sources| sources.list.as_path()));
    let report = Report::new(options, versions, sources.map(|sources| sources.corpus), rows);
    finish(options, &report)?;
    outcome?;
    Ok(if stopped() { ExitCode::from(INTERRUPTED) } else { ExitCode::SUCCESS })
}

/// Makes a file's folder, and finds out before minutes of measuring whether it can be written.
fn prepare(file: &Path) -> Result<()> {
    let to_write = || format!("writing {}", file.display());
    std::fs::create_dir_all(file.parent().unwrap_or(file)).with_context(to_write)?;
    std::fs::File::options().append(true).create(true).open(file).with_context(to_write)?;
    Ok(())
}

/// Prints and writes what was measured, be it all or not.
fn finish(options: &Options, report: &Report) -> Result<()> {
    print!("{}", tables::render(report));
    write(options.json.as_deref(), || Ok(serde_json::to_string_pretty(report)? + "\n"))?;
    write(options.markdown.as_deref(), || Ok(document::render(options, report)))
}

fn write(file: Option<&Path>, text: impl FnOnce() -> Result<String>) -> Result<()> {
    let Some(file) = file else {
        return Ok(());
    };
    std::fs::write(file, text()?).with_context(|| format!("writing {}", file.display()))
}

/// The versions of what was measured. Further peers are in the lock file of their own workspace.
fn versions(options: &Options, metadata: Metadata) -> Result<BTreeMap<String, String>> {
    let mut workspaces = vec![metadata];
    let (allocators, is_further) = (options.allocators(), |one: &&&Allocator| one.home != Home::Here);
    let features: Vec<_> = allocators.iter().filter(is_further).map(|allocator| allocator.name).collect();
    if !features.is_empty() {
        workspaces.push(machine::metadata(&machine::peers_folder(), &features)?);
    }
    Ok(machine::versions(&workspaces, options.packages()))
}

/// The chosen source files and the list that names them.
struct Sources {
    corpus: alloc_bench::corpus::Corpus,
    list: PathBuf,
}

fn sources(options: &Options, metadata: &Metadata) -> Result<Option<Sources>> {
    if !options.workloads().iter().any(|workload| workload.needs_corpus) {
        return Ok(None);
    }
    let corpus = sources::choose(metadata, options.scale())?;
    let list = metadata.target_directory.join("alloc-bench").join(format!("sources-{}.json", corpus.bytes));
    corpus.save(list.as_std_path())?;
    Ok(Some(Sources { corpus, list: list.into_std_path_buf() }))
}

fn stop_at_ctrl_c() -> Result<()> {
    let stop = || {
        if STOPPED.get_or_init(Instant::now).elapsed() > ONE_PRESS {
            std::process::exit(i32::from(INTERRUPTED));
        }
    };
    ctrlc::set_handler(stop).context("installing the handler of Ctrl-C")
}

/// Whether Ctrl-C was pressed.
fn stopped() -> bool {
    STOPPED.get().is_some()
}
