//! Allocation-pressure benchmarks.
fn main() {}
