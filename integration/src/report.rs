//! What a program says: one summary line on success, one line and an abort on failure.
//!
//! **Invariant:** nothing here allocates, locks or buffers, so that signal handlers, exit handlers and programs out of
//! memory can use it.

use std::fmt::{self, Write};

/// The most figures that a summary holds.
const FIGURES: usize = 16;

/// A line such as `mixed: seed=7 operations=10000000`: the program's name and its figures.
#[derive(Clone, Debug)]
pub struct Summary<'a> {
    name: &'a str,
    figures: [(&'a str, u64); FIGURES],
    len: usize,
}

impl<'a> Summary<'a> {
    /// An empty summary of the program `name`.
    #[must_use]
    pub fn new(name: &'a str) -> Self {
        Self { name, figures: [("", 0); FIGURES], len: 0 }
    }

    /// Adds a figure; the name has no spaces and no `=`.
    #[must_use]
    pub fn with(mut self, figure: &'a str, value: u64) -> Self {
        self.figures[self.len] = (figure, value);
        self.len += 1;
        self
    }

    /// The value of a figure.
    #[must_use]
    pub fn get(&self, figure: &str) -> Option<u64> {
        let figures = &self.figures[..self.len];
        figures.iter().find(|(name, _)| *name == figure).map(|&(_, value)| value)
    }

    /// Reads a line that [`Summary::print`] wrote; `None` if it is another program's or malformed.
    #[must_use]
    pub fn parse(line: &'a str, name: &'a str) -> Option<Self> {
        let figures = line.strip_prefix(name)?.strip_prefix(':')?;
        figures.split_whitespace().try_fold(Self::new(name), |summary, pair| {
            let (figure, value) = pair.split_once('=')?;
            Some(summary.with(figure, value.parse().ok()?))
        })
    }

    /// Writes the line to standard output.
    pub fn print(&self) {
        let mut line = Line::new();
        let _ = writeln!(line, "{self}");
        line.send(libc::STDOUT_FILENO);
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.name)?;
        self.figures[..self.len].iter().try_for_each(|(figure, value)| write!(f, " {figure}={value}"))
    }
}

/// A line on the stack; what does not fit is cut off.
struct Line {
    bytes: [u8; 1024],
    len: usize,
}

impl Line {
    fn new() -> Self {
        Self { bytes: [0; 1024], len: 0 }
    }

    fn send(&self, descriptor: i32) {
        // SAFETY: the bytes are initialised and outlive the call.
        unsafe { libc::write(descriptor, self.bytes.as_ptr().cast(), self.len) };
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.len..];
        let len = text.len().min(room.len());
        room[..len].copy_from_slice(&text.as_bytes()[..len]);
        self.len += len;
        Ok(())
    }
}

/// Writes the message to standard error and aborts; use it through [`fatal!`](crate::fatal).
#[cold]
pub fn fatal(message: fmt::Arguments<'_>) -> ! {
    let mut line = Line::new();
    let _ = writeln!(line, "FAILED: {message}");
    line.send(libc::STDERR_FILENO);
    std::process::abort()
}

/// Says what broke, formatted on the stack, and aborts: in handlers and without memory too.
#[macro_export]
macro_rules! fatal {
    ($($message:tt)*) => { $crate::report::fatal(format_args!($($message)*)) };
}

/// [`fatal!`] unless the condition holds.
#[macro_export]
macro_rules! require {
    ($condition:expr, $($message:tt)*) => { if !$condition { $crate::fatal!($($message)*) } };
}

#[cfg(test)]
mod tests {
    use super::Summary;

    #[test]
    fn a_printed_summary_reads_back() {
        let line = Summary::new("mixed").with("seed", 7).with("nulls", 0).to_string();
        let read = Summary::parse(&line, "mixed").expect("well-formed");
        assert_eq!((read.get("seed"), read.get("nulls"), read.get("other")), (Some(7), Some(0), None));
    }

    #[test]
    fn a_foreign_line_is_no_summary() {
        assert!(Summary::parse("server: requests=1", "mixed").is_none());
        assert!(Summary::parse("mixed: seed=x", "mixed").is_none());
    }
}
