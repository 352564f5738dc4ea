//! One child binary per allocator: built here, always with the release profile, and checked. Those of the package in
//! `peers/` only if they are asked for, in the same target folder: what both packages need is built once.
//!
//! The check is not pedantry. mimalloc's and snmalloc's build scripts take debug information in the profile as a wish for
//! a slow build, so a `debug = true` anywhere would compare us with peers an order of magnitude slower than what their
//! users run.

use std::collections::HashMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use alloc_bench::allocators::{Allocator, Home};
use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{Artifact, ArtifactDebuginfo, Message};

use super::machine;
use super::options::Options;

/// The variable that would override the manifest's profile.
const PROFILE_VARIABLE: &str = "CARGO_PROFILE_RELEASE_DEBUG";

/// Where each allocator's child is.
#[derive(Debug)]
pub(crate) struct Children(HashMap<&'static str, PathBuf>);

impl Children {
    /// Builds the children of the chosen allocators below `target`, or takes them from the folder that the options name.
    pub(crate) fn ready(options: &Options, target: &Path) -> Result<Self> {
        match &options.children_dir {
            Some(folder) => Self::find(&options.allocators(), folder),
            None => Self::build(&options.allocators(), options.target.as_deref(), target),
        }
    }

    /// The program that measures this allocator.
    ///
    /// # Panics
    ///
    /// If it is none of the chosen ones.
    pub(crate) fn program(&self, allocator: &Allocator) -> &Path {
        &self.0[allocator.name]
    }

    fn find(allocators: &[&'static Allocator], folder: &Path) -> Result<Self> {
        let mut found = HashMap::new();
        for allocator in allocators {
            let program = folder.join(allocator.binary).with_extension(std::env::consts::EXE_EXTENSION);
            ensure!(program.is_file(), "there is no {} in {}", allocator.binary, folder.display());
            found.insert(allocator.name, program);
        }
        Ok(Self(found))
    }

    fn build(allocators: &[&'static Allocator], triple: Option<&str>, target: &Path) -> Result<Self> {
        refuse_debug(std::env::var(PROFILE_VARIABLE).ok().as_deref())?;
        let (here, peers): (Vec<_>, Vec<_>) = allocators.iter().partition(|allocator| allocator.home == Home::Here);
        let mut found = HashMap::new();
        for group in [here, peers].iter().filter(|group| !group.is_empty()) {
            found.extend(build(group, triple, target)?);
        }
        for allocator in allocators {
            ensure!(found.contains_key(allocator.name), "cargo has built no {}", allocator.binary);
        }
        Ok(Self(found))
    }
}

/// Builds children of one package.
fn build(
    allocators: &[&'static Allocator],
    triple: Option<&str>,
    target: &Path,
) -> Result<HashMap<&'static str, PathBuf>> {
    let mut command = command(allocators, triple, target);
    eprintln!("Building one program per allocator: {}", shown(&command));
    let mut cargo = command.stdout(Stdio::piped()).spawn().context("starting cargo")?;
    let output = cargo.stdout.take().context("cargo's output is not to be had")?;
    let found = programs(allocators, BufReader::new(output));
    ensure!(cargo.wait()?.success(), "the children did not build (see above){}", needs(allocators));
    found
}

/// What may be missing if they do not build.
fn needs(allocators: &[&Allocator]) -> String {
    let is_cxx = |allocator: &&&Allocator| allocator.home == Home::Peers { needs_cxx: true };
    let names: Vec<_> = allocators.iter().filter(is_cxx).map(|allocator| allocator.name).collect();
    if names.is_empty() { String::new() } else { format!("; a C++ compiler is needed for {}", names.join(", ")) }
}

fn command(allocators: &[&Allocator], triple: Option<&str>, target: &Path) -> Command {
    let mut command = Command::new(machine::cargo());
    command.args(["build", "--release", "--package"]);
    if allocators.iter().all(|allocator| allocator.home == Home::Here) {
        command.current_dir(machine::package_folder()).arg("alloc-bench");
    } else {
        command.current_dir(machine::peers_folder()).args(["alloc-bench-peers", "--locked"]);
    }
    for allocator in allocators {
        command.args(["--bin", allocator.binary]);
        command.args(feature(allocator).iter().flat_map(|&feature| ["--features", feature]));
    }
    if cfg!(feature = "liburcu") {
        command.args(["--features", "liburcu"]);
    }
    command.args(triple.iter().flat_map(|triple| ["--target", triple]));
    command.env("CARGO_TARGET_DIR", target).arg("--message-format=json-render-diagnostics");
    command
}

fn feature(allocator: &Allocator) -> Option<&'static str> {
    (allocator.home != Home::Here).then_some(allocator.name)
}

fn shown(command: &Command) -> String {
    let words = command.get_args().map(|word| word.to_string_lossy()).filter(|word| !word.starts_with("--message"));
    std::iter::once("cargo".into()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Reads all that cargo says, and keeps the programs.
fn programs(
    allocators: &[&'static Allocator],
    output: impl std::io::BufRead,
) -> Result<HashMap<&'static str, PathBuf>> {
    let mut found = HashMap::new();
    let mut unfair = Ok(());
    for message in Message::parse_stream(output) {
        let Message::CompilerArtifact(artifact) = message.context("reading cargo's messages")? else {
            continue;
        };
        let Some(allocator) = allocators.iter().find(|allocator| allocator.binary == artifact.target.name) else {
            continue;
        };
        unfair = unfair.and(refuse_unfair(&artifact));
        found.extend(artifact.executable.map(|program| (allocator.name, program.into_std_path_buf())));
    }
    unfair.map(|()| found)
}

/// The profile may also be changed by a cargo configuration file: look at what was really used.
fn refuse_unfair(artifact: &Artifact) -> Result<()> {
    let profile = &artifact.profile;
    let fair = profile.debuginfo == ArtifactDebuginfo::None && profile.opt_level == "3" && !profile.debug_assertions;
    ensure!(
        fair,
        "{} was built with {:?} debug information, opt-level {} and debug assertions {}: peers built like that are an \
         order of magnitude slower than what their users run. Leave [profile.release] at debug = false, opt-level = 3 \
         (also in cargo's configuration files and CARGO_PROFILE_RELEASE_* variables)",
        artifact.target.name,
        profile.debuginfo,
        profile.opt_level,
        profile.debug_assertions
    );
    Ok(())
}

fn refuse_debug(value: Option<&str>) -> Result<()> {
    match value {
        None | Some("" | "0" | "false" | "none") => Ok(()),
        Some(value) => bail!(
            "{PROFILE_VARIABLE}={value} would make mimalloc build an order of magnitude slower than what its users run; \
             unset it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc_bench::allocators;

    fn message(debuginfo: &str) -> String {
        let target = r#"{"name":"child-system","kind":["bin"],"crate_types":["bin"],"src_path":"/x.rs"}"#;
        let profile = format!(
            r#"{{"opt_level":"3","debuginfo":{debuginfo},"debug_assertions":false,"overflow_checks":false,"test":false}}"#
        );
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"x","manifest_path":"/x","target":{target},"profile":{profile},"features":[],"filenames":[],"executable":"/child-system","fresh":true}}"#
        )
    }

    #[test]
    fn programs_are_found_in_cargos_messages() {
        let system = allocators::find("system").unwrap();
        let found = programs(&[system], message("0").as_bytes()).unwrap();
        assert_eq!(found["system"], Path::new("/child-system"));
    }

    #[test]
    fn debug_information_is_refused_wherever_it_comes_from() {
        let system = allocators::find("system").unwrap();
        assert!(programs(&[system], message("2").as_bytes()).unwrap_err().to_string().contains("order of magnitude"));
        for bad in ["1", "2", "true", "full", "line-tables-only"] {
            assert!(refuse_debug(Some(bad)).is_err(), "{bad}");
        }
        for good in [None, Some("0"), Some("false"), Some("none")] {
            assert!(refuse_debug(good).is_ok());
        }
    }

    #[test]
    fn peers_are_built_in_their_own_package_with_a_feature_each() {
        let all = ["snmalloc", "rusty_alloc"].map(|name| allocators::find(name).unwrap());
        let words = "--bin child-snmalloc --features snmalloc --bin child-rusty_alloc --features rusty_alloc";
        let ours = if cfg!(feature = "liburcu") { " --features liburcu" } else { "" };
        assert_eq!(
            shown(&command(&all, None, Path::new("/target"))),
            format!("cargo build --release --package alloc-bench-peers --locked {words}{ours}")
        );
        let (system, musl) = (allocators::find("system").unwrap(), "x86_64-unknown-linux-musl");
        assert_eq!(
            shown(&command(&[system], Some(musl), Path::new("/target"))),
            format!("cargo build --release --package alloc-bench --bin child-system{ours} --target {musl}")
        );
    }

    #[test]
    fn who_needs_a_compiler_is_named() {
        let all = ["snmalloc", "tcmalloc", "rusty_alloc"].map(|name| allocators::find(name).unwrap());
        assert_eq!(needs(&all), "; a C++ compiler is needed for snmalloc, tcmalloc");
        assert_eq!(needs(&all[2..]), "");
    }

    #[test]
    fn a_folder_without_the_child_is_an_error() {
        let system = allocators::find("system").unwrap();
        assert!(Children::find(&[system], Path::new("/nonexistent")).is_err());
    }
}
