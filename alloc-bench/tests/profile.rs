//! What the figures rely on in manifests and lock files.

use std::collections::BTreeMap;

use alloc_bench::allocators::{ALL, Allocator, Home};

fn read(file: &str) -> toml::Table {
    let file = format!("{}/{file}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}")).parse().unwrap()
}

/// The release profile must stay free of debug information: mimalloc's and snmalloc's build scripts take it as a wish
/// for a slow build, and the benchmark would compare with peers that nobody runs.
#[test]
fn the_release_profile_has_no_debug_information() {
    let manifest = read("../Cargo.toml");
    let release = manifest["profile"]["release"].as_table().unwrap();
    assert_eq!(release["debug"].as_bool(), Some(false));
    assert!(release.get("opt-level").is_none_or(|level| level.as_integer() == Some(3)));
    assert!(!release.contains_key("package"), "no exceptions for single packages");
}

#[test]
fn the_peers_have_the_workspaces_release_profile() {
    assert_eq!(read("peers/Cargo.toml")["profile"]["release"], read("../Cargo.toml")["profile"]["release"]);
}

/// snmalloc's build script leaves out what turns its assertions off.
#[test]
fn the_peers_are_built_without_assertions() {
    assert_eq!(read("peers/.cargo/config.toml")["env"]["CXXFLAGS"].as_str(), Some("-DNDEBUG"));
}

/// Versions of a lock file's packages, by name.
fn locked(file: &str) -> BTreeMap<String, Vec<String>> {
    let mut versions = BTreeMap::<_, Vec<_>>::new();
    for package in read(file)["package"].as_array().unwrap() {
        let field = |name: &str| package[name].as_str().unwrap().to_owned();
        versions.entry(field("name")).or_default().push(field("version"));
    }
    versions
}

/// All children must do the same work, with the same code around their allocators. After a change of the workspace's
/// lock file, in `peers`: `cp ../../Cargo.lock . && cargo metadata >/dev/null`.
#[test]
fn the_peers_lock_file_has_the_workspaces_versions() {
    let (peers, workspace) = (locked("peers/Cargo.lock"), locked("../Cargo.lock"));
    let shared = ["alloc-bench", "crossbeam-epoch", "seize", "serde_json", "syn", "tikv-jemalloc-sys"];
    for name in shared {
        assert_eq!(peers[name], workspace[name], "{name}");
    }
    for (name, versions) in workspace.iter().filter(|(name, _)| peers.contains_key(*name)) {
        assert!(versions.iter().any(|version| peers[name].contains(version)), "{name}");
    }
}

#[test]
fn every_peer_has_its_feature_and_its_child() {
    let manifest = read("peers/Cargo.toml");
    let is_peer = |allocator: &&Allocator| allocator.home != Home::Here;
    for Allocator { name, binary, .. } in ALL.iter().filter(is_peer) {
        assert!(manifest["features"].get(name).is_some(), "{name}");
        let child = manifest["bin"].as_array().unwrap().iter().find(|bin| bin["name"].as_str() == Some(binary));
        assert_eq!(child.unwrap()["required-features"].as_array().unwrap()[0].as_str(), Some(*name));
    }
}
