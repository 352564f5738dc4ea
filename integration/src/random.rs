//! Seeds that are printed, sizes skewed to small.

use std::alloc::Layout;

use fastrand::Rng;

/// The seed of this run: argument `index` of the program, or a fresh one. The caller puts it into its summary; it is
/// on standard error already, for the case that the program dies before.
#[must_use]
pub fn seed(index: usize) -> u64 {
    let seed = argument(index).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed={seed}");
    seed
}

/// Argument `index` of the program as a number.
#[must_use]
pub fn argument(index: usize) -> Option<u64> {
    std::env::args().nth(index)?.parse().ok()
}

/// A size from 1 to 256 KiB, mostly small.
#[must_use]
pub fn size(rng: &mut Rng) -> usize {
    match rng.u32(..1000) {
        0..700 => rng.usize(1..=128),
        700..930 => rng.usize(1..=1024),
        930..996 => rng.usize(1..=32 * 1024),
        _ => rng.usize(32 * 1024..=256 * 1024),
    }
}

/// A layout of such a size: mostly of alignment 1 to 16, some over-aligned up to 4 KiB, few up to 1 MiB.
#[must_use]
pub fn layout(rng: &mut Rng) -> Layout {
    let align = match rng.u32(..1000) {
        0..950 => 1 << rng.u32(0..=4),
        950..999 => 1 << rng.u32(5..=12),
        _ => 1 << rng.u32(13..=20),
    };
    Layout::from_size_align(size(rng), align).expect("far from the limits")
}
