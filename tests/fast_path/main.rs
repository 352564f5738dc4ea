//! The machine code of a user's program.
//!
//! **Fast paths**: no call, no lock prefix, no division, no detour through the global offset table, and no more instructions
//! than documented. Every path from the
//! entry of a probe to its `ret` is followed, both ways at each conditional jump; a path that calls, or leaves the
//! function, went to the slow side and ends there. What is left are the fast paths.
//!
//! **Restartable sections**: each descriptor survived the linker, its abort address stands behind the signature and leads
//! back to the store of that very descriptor, and its last instruction is the one store that commits.
//!
//! The program is a small one that depends on this crate as users do, built with the default release profile.

#![cfg(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu"))]

mod image;

use iced_x86::{FastFormatter, FlowControl, Instruction, Mnemonic, OpKind, Register};
use image::{Descriptor, Image};
use std::path::PathBuf;
use std::process::Command;

/// The most instructions of a fast path, from its first to its `ret`.
const BOUNDS: [(&str, usize); 4] =
    [("probe_alloc_fixed", 24), ("probe_dealloc_fixed", 24), ("probe_alloc_any", 32), ("probe_dealloc_any", 32)];

/// What glibc registered; stands in front of every abort address.
const SIGNATURE: u32 = 0x5305_3053;

const MANIFEST: &str = r#"
[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[[bin]]
name = "probe"
path = "HERE/tests/fast_path/probe.rs"

[dependencies]
gracealloc = { path = "HERE", default-features = false }

[workspace]
"#;

/// Builds the probe in a package of its own, runs it, and returns the executable.
fn build(variant: &str, flags: &str, options: &[&str]) -> Vec<u8> {
    let here = env!("CARGO_MANIFEST_DIR");
    let package = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(variant);
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("Cargo.toml"), MANIFEST.replace("HERE", here)).unwrap();
    std::fs::copy(format!("{here}/Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--offline", "--quiet", "--target-dir", "target"])
        .args(options)
        .current_dir(&package)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env("RUSTFLAGS", flags)
        .status()
        .unwrap();
    assert!(status.success(), "{variant} does not build");
    let program = package.join("target/release/probe");
    assert!(Command::new(&program).status().unwrap().success(), "{variant} does not run");
    std::fs::read(program).unwrap()
}

/// Every path from `path`'s end to a `ret` that neither calls nor leaves the function.
fn fast_paths(
    image: &Image<'_>,
    function: &std::ops::Range<u64>,
    path: &[Instruction],
    next: u64,
    found: &mut Vec<Vec<Instruction>>,
) {
    if !function.contains(&next) {
        return;
    }
    assert!(path.len() < 200, "a loop");
    let instruction = image.instruction(next);
    let path = [path, &[instruction]].concat();
    let mut follow = |next| fast_paths(image, function, &path, next, found);
    match instruction.flow_control() {
        FlowControl::Next => follow(instruction.next_ip()),
        FlowControl::UnconditionalBranch => follow(instruction.near_branch_target()),
        FlowControl::ConditionalBranch => {
            follow(instruction.next_ip());
            follow(instruction.near_branch_target());
        }
        FlowControl::Return => found.push(path),
        FlowControl::Call | FlowControl::IndirectCall | FlowControl::IndirectBranch | FlowControl::Exception => {}
        other => panic!("{other:?} at {next:#x}"),
    }
}

fn listing(path: &[Instruction]) -> String {
    let mut formatter = FastFormatter::new();
    let mut text = String::new();
    for instruction in path {
        formatter.format(instruction, &mut text);
        text.push('\n');
    }
    text
}

/// What a fast path must not do: a locked access (an exchange with memory is one by itself), a division.
fn is_slow(instruction: &Instruction) -> bool {
    let memory = [instruction.op0_kind(), instruction.op1_kind()].contains(&OpKind::Memory);
    let exchange = instruction.mnemonic() == Mnemonic::Xchg && memory;
    instruction.has_lock_prefix() || exchange || matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv)
}

/// A pointer loaded from an address that is fixed: the global offset table.
fn is_detour(instruction: &Instruction) -> bool {
    let loads = instruction.mnemonic() == Mnemonic::Mov && instruction.op0_register().is_gpr64();
    loads && instruction.op1_kind() == OpKind::Memory && instruction.memory_base() == Register::RIP
}

#[test]
fn fast_paths_are_short_and_free_of_calls_locks_and_divisions() {
    let bytes = build("fast_path", "", &[]);
    let image = Image::parse(&bytes);
    for (name, bound) in BOUNDS {
        let (function, mut paths) = (image.function(name), vec![]);
        fast_paths(&image, &function, &[], function.start, &mut paths);
        let longest = paths.iter().max_by_key(|path| path.len()).expect("a path without a call");
        println!("{name}: {} instructions, {} path(s), at most {bound} permitted", longest.len(), paths.len());
        println!("{}", listing(longest));
        assert!(longest.len() <= bound, "{name} has become longer");
        assert!(!paths.iter().flatten().any(is_slow), "{name} has a locked access or a division");
        assert!(!paths.iter().flatten().any(is_detour), "{name} looks an address up that the linker knows");
    }
    check_sections(&image);
}

fn check_sections(image: &Image<'_>) {
    let descriptors = image.descriptors();
    assert!(descriptors.len() >= BOUNDS.len(), "one for each probe at least");
    println!("{} restartable sections", descriptors.len());
    descriptors.iter().for_each(|descriptor| check_section(image, descriptor));
}

fn check_section(image: &Image<'_>, section: &Descriptor) {
    assert_eq!(section.version_and_flags, 0);
    assert!(!(section.start..section.end).contains(&section.abort), "an abort inside its own section");
    assert_eq!(image.u32(section.abort - 4), SIGNATURE);
    // The abort leads to the restart point: the descriptor's address, its store, and then the section's start.
    let restart = image.instruction(section.abort).near_branch_target();
    let load = image.instruction(restart);
    let store = image.instruction(load.next_ip());
    assert_eq!((load.mnemonic(), load.memory_displacement64()), (Mnemonic::Lea, section.address), "another descriptor");
    assert_eq!(
        (store.mnemonic(), store.memory_segment(), store.op1_register()),
        (Mnemonic::Mov, Register::FS, load.op0_register())
    );
    assert_eq!(store.next_ip(), section.start, "the section begins right after the store");
    assert!(commits(&inside(image, section)), "{}", listing(&inside(image, section)));
}

fn inside(image: &Image<'_>, section: &Descriptor) -> Vec<Instruction> {
    let next = |last: &Instruction| (last.next_ip() < section.end).then(|| image.instruction(last.next_ip()));
    std::iter::successors(Some(image.instruction(section.start)), next).collect()
}

/// No call, and the last instruction changes the count or exchanges the slot.
fn commits(instructions: &[Instruction]) -> bool {
    let last = instructions.last().expect("an instruction");
    let stores = last.op0_kind() == OpKind::Memory && last.memory_segment() != Register::FS;
    let straight = |i: &&Instruction| matches!(i.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
    stores
        && matches!(last.mnemonic(), Mnemonic::Add | Mnemonic::Sub | Mnemonic::Cmpxchg)
        && instructions.iter().filter(straight).count() == instructions.len()
}

#[test]
#[ignore = "builds the program twice more"]
fn sections_survive_fat_lto_and_both_linkers() {
    let fat = ["--config", "profile.release.lto='fat'", "--config", "profile.release.codegen-units=1"];
    for (variant, flags) in [
        ("fat_lto", "-C link-arg=-Wl,--gc-sections"),
        ("fat_lto_bfd", "-C link-arg=-Wl,--gc-sections -C link-arg=-fuse-ld=bfd -C relocation-model=static"),
    ] {
        check_sections(&Image::parse(&build(variant, flags, &fat)));
    }
}
