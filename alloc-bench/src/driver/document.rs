//! The whole report as a document in Markdown: what was measured, where and how, and every table.

use std::fmt::Write;
use std::path::Path;

use alloc_bench::schemes;
use alloc_bench::workloads::Spec;

use super::options::Options;
use super::report::Report;
use super::tables::{self, Section};

/// How the tables are to be read.
const READING: &str = "\
Each row is measured in interleaved rounds: every allocator once a round, each in a process of its own. Shown are medians \
of the rounds; *ours / best peer* is gracealloc's median by that of the peer whose median is smallest, with a 95 % \
bootstrap interval over the rounds. Below 1 gracealloc is better. *won* and *lost* are intervals without 1 in them, \
*open* is all between. Speeds of different runs are not to be compared.";

/// The document.
pub(crate) fn render(options: &Options, report: &Report) -> String {
    let mut text = format!("# Benchmarks\n\nMade by `{}`.\n", command(std::env::args().skip(1)));
    if report.interrupted {
        write!(text, "\n**{}**\n", tables::INTERRUPTED).expect("writing to a String");
    }
    write!(text, "\n{}\n\n{READING}\n\n{}", report.origin(), workloads(&options.workloads())).expect("as above");
    for Section { title, table } in tables::sections(report) {
        write!(text, "\n## {title}\n\n{table}\n").expect("as above");
    }
    text
}

/// How this run can be repeated. Paths of this machine alone are shortened to their last part.
fn command(arguments: impl Iterator<Item = String>) -> String {
    let start = "cargo run --release -p alloc-bench".to_owned();
    let arguments: Vec<_> = arguments.map(|argument| without_folder(&argument)).collect();
    if arguments.is_empty() { start } else { format!("{start} -- {}", arguments.join(" ")) }
}

fn without_folder(argument: &str) -> String {
    let (option, value) = argument.split_once('=').map_or(("", argument), |(option, value)| (option, value));
    let path = Path::new(value);
    let file = path.file_name().filter(|_| path.is_absolute()).map(|name| name.to_string_lossy().into_owned());
    match (file, option) {
        (None, _) => argument.to_owned(),
        (Some(file), "") => file,
        (Some(file), option) => format!("{option}={file}"),
    }
}

/// What the workloads and schemes do.
fn workloads(measured: &[&Spec]) -> String {
    let lines = measured.iter().map(|spec| (spec.name, spec.about));
    let schemes = schemes::ALL.iter().map(|scheme| (scheme.name, scheme.about));
    let is_deferral = measured.iter().any(|spec| !spec.retires.schemes().is_empty());
    let all = lines.chain(schemes.filter(|_| is_deferral));
    all.map(|(name, about)| format!("- `{name}`: {about}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_no_folder_of_this_machine() {
        let line = "--all --markdown docs/benchmarks.md --json /tmp/x/report.json --children-dir=/home/me/children";
        let shown = command(line.split(' ').map(str::to_owned));
        let expected = "--all --markdown docs/benchmarks.md --json report.json --children-dir=children";
        assert_eq!(shown, format!("cargo run --release -p alloc-bench -- {expected}"));
        assert_eq!(command(std::iter::empty()), "cargo run --release -p alloc-bench");
    }

    #[test]
    fn workloads_are_explained() {
        let all: Vec<_> = alloc_bench::workloads::ALL.iter().collect();
        let text = workloads(&all);
        assert!(all.iter().all(|spec| text.contains(&format!("- `{}`: {}", spec.name, spec.about))));
        assert!(text.contains("- `leak`:") && !workloads(&all[..1]).contains("- `leak`:"));
    }
}
