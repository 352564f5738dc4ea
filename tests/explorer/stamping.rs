//! Stamping and draining: no object is free while a reader has it.
//!
//! Problem: the cookie of a page must be younger than the unlinking of every object in it, whoever pushed it, and
//! whatever happens to the thread that seals or drains between two steps. The routines are in `defer.rs`, `drain.rs`
//! and `poll.rs`; here they meet readers and grace periods.
//!
//! Invariants that the cases are after:
//! - preempted or moved between `replace` and the cookie, a thread holds a page that is only stamped later;
//! - a push that was half-way when its page was swapped out has committed before the cookie, and what unlinked its
//!   object is seen by all, or it starts again on another page;
//! - a poll frees a page by that page's own cookie.
//!
//! ```text
//!   reader        ├──────── has the object ────────┤
//!   unlink      ─────x  push ─ replace ─ cookie
//!   sequence    1 (probed already)   2   3 ─────────┴─ 4     may be given back from 4 on
//! ```

mod tests;
