//! The fast paths as the compiler left them in a user's program: no call, no lock prefix, no division, and no more
//! instructions than documented.
//!
//! A small program that depends on this crate as users do is built with the default release profile. In it every path
//! from the entry of a probe to its `ret` is followed, both ways at each conditional jump; a path that calls, or leaves
//! the function, went to the slow side and ends there. What is left are the fast paths.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

use iced_x86::{Code, Decoder, DecoderOptions, FastFormatter, FlowControl, Instruction, Mnemonic, OpKind};
use object::{Object, ObjectSection, ObjectSymbol};
use std::path::PathBuf;
use std::process::Command;

/// The most instructions of a fast path, from its first to its `ret`.
const BOUNDS: [(&str, usize); 4] =
    [("probe_alloc_fixed", 28), ("probe_dealloc_fixed", 28), ("probe_alloc_any", 38), ("probe_dealloc_any", 38)];

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

/// Builds the probe in a package of its own and returns the executable.
fn build() -> PathBuf {
    let here = env!("CARGO_MANIFEST_DIR");
    let package = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fast_path");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(package.join("Cargo.toml"), MANIFEST.replace("HERE", here)).unwrap();
    std::fs::copy(format!("{here}/Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--offline", "--quiet", "--target-dir", "target"])
        .current_dir(&package)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .unwrap();
    assert!(status.success(), "the probe does not build");
    package.join("target/release/probe")
}

/// A function's address and its machine code.
struct Function {
    address: u64,
    code: Vec<u8>,
}

impl Function {
    fn find(file: &object::File<'_>, name: &str) -> Self {
        let symbol = file.symbols().find(|s| s.name() == Ok(name)).expect(name);
        let section = file.section_by_index(symbol.section_index().unwrap()).unwrap();
        let code = section.data_range(symbol.address(), symbol.size()).unwrap().unwrap();
        Self { address: symbol.address(), code: code.to_vec() }
    }

    /// The instruction at an address, `None` outside the function.
    fn at(&self, address: u64) -> Option<Instruction> {
        let offset = usize::try_from(address.checked_sub(self.address)?).ok()?;
        let code = self.code.get(offset..).filter(|code| !code.is_empty())?;
        let decoded = Decoder::with_ip(64, code, address, DecoderOptions::NONE).decode();
        assert_ne!(decoded.code(), Code::INVALID, "at {address:#x}");
        Some(decoded)
    }

    /// Every path from `path`'s end to a `ret` that neither calls nor leaves the function.
    fn fast_paths(&self, path: &[Instruction], next: u64, found: &mut Vec<Vec<Instruction>>) {
        let Some(instruction) = self.at(next) else { return };
        assert!(path.len() < 200, "a loop");
        let path = [path, &[instruction]].concat();
        let target = instruction.near_branch_target();
        match instruction.flow_control() {
            FlowControl::Next => self.fast_paths(&path, instruction.next_ip(), found),
            FlowControl::Return => found.push(path),
            FlowControl::UnconditionalBranch => self.fast_paths(&path, target, found),
            FlowControl::ConditionalBranch => {
                self.fast_paths(&path, instruction.next_ip(), found);
                self.fast_paths(&path, target, found);
            }
            FlowControl::Call | FlowControl::IndirectCall | FlowControl::IndirectBranch | FlowControl::Exception => {}
            other => panic!("{other:?} at {next:#x}"),
        }
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
    let exchange = instruction.mnemonic() == Mnemonic::Xchg
        && (instruction.op0_kind() == OpKind::Memory || instruction.op1_kind() == OpKind::Memory);
    instruction.has_lock_prefix() || exchange || matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv)
}

#[test]
fn fast_paths_are_short_and_free_of_calls_locks_and_divisions() {
    let bytes = std::fs::read(build()).unwrap();
    let file = object::File::parse(&*bytes).unwrap();
    for (name, bound) in BOUNDS {
        let (function, mut paths) = (Function::find(&file, name), vec![]);
        function.fast_paths(&[], function.address, &mut paths);
        let longest = paths.iter().max_by_key(|path| path.len()).expect("a path without a call");
        println!("{name}: {} instructions, {} path(s), at most {bound} permitted", longest.len(), paths.len());
        println!("{}", listing(longest));
        assert!(longest.len() <= bound, "{name} has become longer");
        assert!(!paths.iter().flatten().any(is_slow), "{name} has a locked access or a division");
    }
}

#[test]
fn the_probe_runs() {
    assert!(Command::new(build()).status().unwrap().success());
}
