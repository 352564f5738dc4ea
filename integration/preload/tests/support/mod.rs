//! What the tests share: the library, programs made from C, and runs of programs with and without the library.
//!
//! ```text
//! library    where cargo has put it
//! compile    programs from tests/c and examples/, with the machine's compilers
//! run        a program under a time limit: what it said, how it ended, what it took
//! compare    the same program with the system allocator and with ours, in both modes
//! programs   programs that nobody here wrote
//! ```

#![allow(dead_code)] // each test program uses some of it

pub(crate) mod compare;
pub(crate) mod compile;
pub(crate) mod library;
pub(crate) mod programs;
pub(crate) mod run;

/// Says that something was not tested, past the test runner, which keeps to itself what successful tests print.
pub(crate) fn skip(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
