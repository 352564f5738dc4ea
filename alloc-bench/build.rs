//! With the feature `liburcu`: compiles what the schemes `call_rcu` and `defer_rcu` need in C, and sets `has_liburcu`.
//!
//! Where liburcu's headers are missing (Debian: `liburcu-dev`) they are left out with a warning: `--all-features`
//! must build everywhere.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(has_liburcu)");
    #[cfg(feature = "liburcu")]
    liburcu::build();
}

#[cfg(feature = "liburcu")]
mod liburcu {
    use std::process::Command;

    const SOURCE: &str = "src/schemes/liburcu.c";

    pub(crate) fn build() {
        println!("cargo::rerun-if-changed={SOURCE}");
        let compiled = cc::Build::new().file(SOURCE).cargo_warnings(false).try_compile("alloc_bench_liburcu");
        if compiled.is_err() {
            println!(
                "cargo::warning=no call_rcu, no defer_rcu: liburcu's headers do not compile (Debian: liburcu-dev)"
            );
            return;
        }
        for library in ["urcu-memb", "urcu-common"] {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
        println!("cargo::rustc-cfg=has_liburcu");
        println!("cargo::rustc-env=LIBURCU_VERSION={}", version());
    }

    /// With a space before it; empty where nobody knows.
    fn version() -> String {
        let output = Command::new("pkg-config").args(["--modversion", "liburcu-memb"]).output();
        let said = output.ok().filter(|output| output.status.success());
        said.map_or(String::new(), |output| format!(" {}", String::from_utf8_lossy(&output.stdout).trim()))
    }
}
