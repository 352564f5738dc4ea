//! Two cfgs, which stand here because they are too long to repeat: `gracealloc_rseq` where the restartable sections are compiled
//! ("Linux, 64 bits, an architecture we have sections for, and not under Miri or loom"), and `gracealloc_initial_exec` where, in
//! addition, thread-locals may stand at fixed distances (glibc, unless a feature says that this may be loaded by `dlopen`).

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(gracealloc_rseq, gracealloc_initial_exec)");
    let var = |name: &str| std::env::var(format!("CARGO_CFG_{name}")).ok();
    let arch = var("TARGET_ARCH").is_some_and(|a| a == "x86_64" || a == "aarch64");
    let linux =
        var("TARGET_OS").is_some_and(|os| os == "linux") && var("TARGET_POINTER_WIDTH").is_some_and(|w| w == "64");
    let checked = var("MIRI").is_some() || var("LOOM").is_some();
    if arch && linux && var("TARGET_ENDIAN").is_some_and(|e| e == "little") && !checked {
        println!("cargo:rustc-cfg=gracealloc_rseq");
        let may_come_late = std::env::var_os("CARGO_FEATURE_DISABLE_INITIAL_EXEC_TLS").is_some();
        if var("TARGET_ENV").is_some_and(|env| env == "gnu") && !may_come_late {
            println!("cargo:rustc-cfg=gracealloc_initial_exec");
        }
    }
}
