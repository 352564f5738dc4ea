//! Measures gracealloc against its peers: `cargo run --release -p alloc-bench`.
//!
//! This is the driver. What it measures, and why each allocator gets a program of its own, is in the library.

mod driver;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match driver::run(&driver::options::Options::parse()) {
        Ok(ending) => ending,
        Err(error) => {
            eprintln!("alloc-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
