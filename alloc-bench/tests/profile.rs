//! The release profile must stay free of debug information: mimalloc's and snmalloc's build scripts take it as a wish
//! for a slow build, and the benchmark would compare with peers that nobody runs.

#[test]
fn the_release_profile_has_no_debug_information() {
    let manifest = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let release = manifest["profile"]["release"].as_table().unwrap();
    assert_eq!(release["debug"].as_bool(), Some(false));
    assert!(release.get("opt-level").is_none_or(|level| level.as_integer() == Some(3)));
    assert!(!release.contains_key("package"), "no exceptions for single packages");
}
