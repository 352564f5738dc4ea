//! The driver and its children together, on a tiny job. Children are taken from where `cargo test` has put them: a
//! `cargo build` inside `cargo test` would build everything a second time. No figure is asserted.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use alloc_bench::workloads::{self, ALL, Retires, Spec};
use serde_json::Value;

fn command(arguments: &[&str]) -> Command {
    let children = Path::new(env!("CARGO_BIN_EXE_child-system")).parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_alloc-bench"));
    command.args(arguments).arg("--children-dir").arg(children);
    command
}

fn driver(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

#[test]
fn a_quick_run_prints_its_tables_and_writes_its_samples() {
    let file = scratch("report.json");
    let output = driver(&["--quick", "--allocator", "gracealloc,system", "--json", file.to_str().unwrap()]);
    let (shown, complaint) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{complaint}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();

    let rows = report["rows"].as_array().unwrap();
    let is_plain = |spec: &&Spec| spec.by_default && !spec.retires.is_by_scheme();
    assert_eq!(rows.len(), 2 * ALL.iter().filter(is_plain).count());
    for row in rows {
        assert!(shown.contains(row["workload"].as_str().unwrap()));
        assert_eq!(row["series"].as_array().unwrap().len(), 2);
        assert!(
            row["series"].as_array().unwrap().iter().all(|series| series["samples"].as_array().unwrap().len() == 2)
        );
        assert_eq!(row["time"]["best_peer"], "system");
        assert!(row["time"]["low"].as_f64() <= row["time"]["high"].as_f64());
    }
    let deferral = report["deferral"].as_array().unwrap();
    assert_eq!(deferral.len(), 5, "two numbers of threads of two workloads, and the twin");
    for row in deferral {
        let (groups, retires) = (row["schemes"].as_array().unwrap(), spec(row).retires);
        assert_eq!(groups.len(), retires.schemes().len());
        assert!(groups.iter().all(|group| shown.contains(group["scheme"].as_str().unwrap())));
        let (contenders, peer) = if retires == Retires::ByEach { (2, "system") } else { (1, "gracealloc") };
        assert!(groups[1..].iter().all(|group| group["series"].as_array().unwrap().len() == contenders));
        assert_eq!(groups[1]["cpu"]["best_peer"], peer);
    }
    assert!(report["deferral_goals"].as_array().unwrap().len() >= 7);
    assert!(report["memory"]["ratio"].as_f64().unwrap() > 0.0);
    let judged: Vec<_> = report["goals"].as_array().unwrap().iter().map(|goal| goal["workload"].as_str()).collect();
    assert!(rows.iter().all(|row| judged.contains(&row["workload"].as_str())));
    assert!(report["sources"]["files"].as_u64().unwrap() > 0);
}

/// The workload of a row.
fn spec(row: &Value) -> &'static Spec {
    workloads::find(row["workload"].as_str().unwrap()).unwrap()
}

/// Each scheme's checksums are compared by the driver.
#[test]
fn readers_and_grace_periods_have_a_document_of_their_own() {
    let (document, figures) = (scratch("grace-periods.md"), scratch("grace-periods.json"));
    let chosen = ["--deferral", "--quick", "--rounds", "1", "--allocator", "gracealloc,system"];
    let files = ["--markdown", document.to_str().unwrap(), "--json", figures.to_str().unwrap()];
    let output = driver(&[&chosen[..], &files[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&document).unwrap();
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&figures).unwrap()).unwrap();
    [document, figures].iter().for_each(|file| std::fs::remove_file(file).unwrap());

    assert!(has_row(&text, "grace-threads", "2000") && has_row(&text, "synchronize", "2"));
    let rows = report["deferral"].as_array().unwrap();
    for spec in ALL.iter().filter(|spec| spec.retires.is_by_scheme()) {
        assert!(rows.iter().any(|row| row["workload"] == spec.name), "{}", spec.name);
        let is_judged = |verdict: &Value| verdict["workload"] == spec.name;
        assert!(report["deferral_goals"].as_array().unwrap().iter().any(is_judged), "{}", spec.name);
        assert!(has_row(&text, spec.name, "1") || has_row(&text, spec.name, "2"), "{}", spec.name);
    }
    assert!(rows.iter().all(|row| row["schemes"][0]["scheme"] == "deferred_free"), "ours has them all");
    assert!(text.contains("stretch ≤ 0.22"));
}

#[test]
fn every_child_does_the_same_work() {
    let file = scratch("checksums.json");
    let arguments =
        ["--quick", "--rounds", "1", "--workload", "churn-16-528,pair-64", "--json", file.to_str().unwrap()];
    let output = driver(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    for row in report["rows"].as_array().unwrap() {
        let checksum = |series: &Value| series["samples"][0]["checksum"].as_u64().unwrap();
        let checksums: Vec<u64> = row["series"].as_array().unwrap().iter().map(checksum).collect();
        assert_eq!(checksums.len(), 4, "the main allocators");
        assert!(checksums.iter().all(|it| *it == checksums[0]));
    }
}

/// Whether a Markdown table has a row that begins with these two cells.
fn has_row(shown: &str, workload: &str, threads: &str) -> bool {
    shown.lines().any(|line| line.split('|').map(str::trim).skip(1).take(2).eq([workload, threads]))
}

#[test]
fn ctrl_c_prints_what_is_finished() {
    let arguments = ["--scale", "0.001", "--rounds", "40", "--allocator", "system", "--workload", "pair-64,batch-1000"];
    let mut command = command(&arguments);
    let mut driver = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut complaints = BufReader::new(driver.stderr.take().unwrap());
    // The first line says that the first of four rows is done.
    complaints.read_line(&mut String::new()).unwrap();
    // SAFETY: kill has no preconditions; the driver is our child and not yet waited for, so the id is still its own.
    assert_eq!(unsafe { libc::kill(driver.id() as libc::pid_t, libc::SIGINT) }, 0);
    let output = driver.wait_with_output().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(shown.contains("Interrupted"));
    assert!(has_row(&shown, "pair-64", "1") && !has_row(&shown, "batch-1000", "2"));
}

#[test]
fn the_list_needs_no_children() {
    let output = driver(&["--list"]);
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("source-index"));
}

#[test]
fn the_list_names_peers_that_are_measured_only_if_asked_for() {
    let shown = String::from_utf8(driver(&["--list"]).stdout).unwrap();
    assert!(shown.contains("if asked for: snmalloc"));
}

#[test]
fn the_document_has_every_row_and_the_goals_beside_it() {
    let file = scratch("benchmarks.md");
    let arguments = ["--quick", "--allocator", "gracealloc,jemalloc", "--workload", "pair-64,batch-1000,first-touch"];
    let output = driver(&[&arguments[..], &["--markdown", file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert!(text.starts_with("# Benchmarks\n\nMade by `cargo run --release -p alloc-bench -- --quick"));
    assert!(!text.contains(file.parent().unwrap().to_str().unwrap()), "no folder of this machine");
    for (workload, threads) in [("pair-64", "1"), ("pair-64", "2"), ("batch-1000", "2"), ("first-touch", "1")] {
        assert!(has_row(&text, workload, threads), "{workload}");
    }
    let timed = text.lines().find(|line| line.contains("| pair-64") && line.contains("≤ 0.60 of jemalloc"));
    assert!(timed.is_some_and(|line| line.contains(" met") || line.contains(" missed")));
    assert!(String::from_utf8(output.stdout).unwrap().contains("gracealloc and its goals"));
}

#[test]
fn whole_processes_are_timed_by_the_driver() {
    let file = scratch("processes.json");
    let arguments = ["--allocator", "system", "--rounds", "1", "--scale", "0.1", "--workload", "first-touch"];
    let output = driver(&[&arguments[..], &["--json", file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0]["threads"].as_u64()), (1, Some(1)));
    let sample = &rows[0]["series"][0]["samples"][0];
    assert_eq!(sample["ops"].as_u64(), Some(4));
    assert!(sample["elapsed_ns"].as_u64() > Some(0) && sample["cpu_ns"].as_u64() > Some(0));
}

#[test]
#[ignore = "builds the benchmark once more, with the release profile"]
fn a_peer_that_is_asked_for_is_built_and_measured() {
    let arguments = ["--quick", "--allocator", "gracealloc,rusty_alloc", "--workload", "churn-16-528"];
    let output = Command::new(env!("CARGO_BIN_EXE_alloc-bench")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8(output.stdout).unwrap().contains("| rusty_alloc |"));
}

#[test]
fn a_bad_request_is_a_clear_error_of_the_child() {
    let request = |workload: &str, scheme: &str| {
        format!(r#"{{"workload":"{workload}","threads":1,"scale":1.0,"seed":0,"corpus":null,"scheme":"{scheme}"}}"#)
    };
    let bad = [request("nap", "leak"), request("defer-64", "hope"), request("defer-64", "deferred_free")];
    for argument in [None, Some("{}".to_owned())].into_iter().chain(bad.map(Some)) {
        let output = Command::new(env!("CARGO_BIN_EXE_child-system")).args(argument).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

#[test]
fn the_twins_parameters_reach_the_children() {
    let file = scratch("twin.json");
    let kernel = ["--kfree_nthreads", "2", "--kfree_loops", "3", "--kfree_alloc_num", "500", "--kfree_mult", "2"];
    let more = ["--workload", "kfree-twin", "--allocator", "gracealloc", "--rounds", "1"];
    let output = driver(&[&kernel[..], &more, &["--json", file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    let rows = report["deferral"].as_array().unwrap();
    assert_eq!((rows.len(), rows[0]["threads"].as_u64()), (1, Some(2)));
    let groups = rows[0]["schemes"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["series"][0]["samples"][0]["ops"].as_u64() == Some(2 * 3 * 500)));
}

#[test]
fn a_choice_that_leaves_nobody_is_a_clear_error() {
    let output = driver(&["--quick", "--workload", "source-index", "--scheme", "leak"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nothing to measure"));
}

#[test]
fn a_file_that_cannot_be_written_is_an_error_before_anything_is_measured() {
    let folder = scratch("folder");
    let inside = folder.join("deep/report.md");
    let made = driver(&["--quick", "--workload", "pair-64", "--markdown", inside.to_str().unwrap()]);
    assert!(made.status.success() && inside.is_file(), "the folder is made");
    let refused = driver(&["--markdown", inside.join("below-a-file").to_str().unwrap()]); // minutes, if it were measured
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && complaint.contains("writing"), "{complaint}");
    assert!(refused.stdout.is_empty());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_without_children_is_a_clear_error() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_alloc-bench")).args(["--quick", "--children-dir", "/nonexistent"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("there is no child-gracealloc in /nonexistent"));
}
