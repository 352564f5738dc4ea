//! One cfg: `gracealloc_rseq` where the restartable sections are compiled. It stands here because "Linux, 64 bits, an
//! architecture we have sections for, and not under Miri or loom" is too long to repeat.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(gracealloc_rseq)");
    let var = |name: &str| std::env::var(format!("CARGO_CFG_{name}")).ok();
    let arch = var("TARGET_ARCH").is_some_and(|a| a == "x86_64" || a == "aarch64");
    let linux =
        var("TARGET_OS").is_some_and(|os| os == "linux") && var("TARGET_POINTER_WIDTH").is_some_and(|w| w == "64");
    let checked = var("MIRI").is_some() || var("LOOM").is_some();
    if arch && linux && var("TARGET_ENDIAN").is_some_and(|e| e == "little") && !checked {
        println!("cargo:rustc-cfg=gracealloc_rseq");
    }
}
