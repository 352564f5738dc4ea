//! Domains: kinds of readers that grace periods wait for.

/// One kind of reader.
pub(super) trait Domain: Sync {
    /// As in reports.
    fn name(&self) -> &'static str;

    /// Grace period `number` has begun: stored, and fenced. From here on whoever is a reader must be waited for. Under
    /// the driver's lock: never blocks, never calls out. In the child of a fork, where other threads' half-done work is
    /// lost, once more for the running one.
    fn begin(&self, number: u64);

    /// Pushes grace period `number` on by what needs nobody else. Under the driver's lock, as [`begin`](Self::begin).
    fn advance(&self, number: u64);

    /// Pushes grace period `number` on by what may call foreign code. No lock of ours is held.
    fn help(&self, number: u64);

    /// Whether everybody who was a reader at `begin` has left. From anywhere; the driver's look is the one that counts.
    fn is_over(&self, number: u64) -> bool;

    /// About how many readers the running grace period still waits for, where that is known.
    fn remaining(&self) -> Option<u64>;
}
