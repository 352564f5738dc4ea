//! The end of a process whose heap is corrupt: one line on standard error, formatted on the stack, then abort.

use core::alloc::Layout;
use core::fmt::{self, Write};

/// A line under construction; what does not fit is cut.
struct Line {
    text: [u8; 256],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let n = s.len().min(self.text.len() - self.len);
        self.text[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

/// Writes `gracealloc: <what>` and a line end to standard error, without allocating.
pub(crate) fn report(what: fmt::Arguments<'_>) {
    let mut line = Line { text: [0; 256], len: 0 };
    let _ = writeln!(line, "gracealloc: {what}");
    #[cfg(unix)]
    // SAFETY: the buffer and its length belong together.
    unsafe {
        libc::write(2, line.text.as_ptr().cast(), line.len);
    }
    #[cfg(not(unix))]
    let _ = std::io::Write::write_all(&mut std::io::stderr(), &line.text[..line.len]);
}

/// Writes `gracealloc: <what>: <ptr> <layout>` to standard error and aborts.
#[cold]
pub(crate) fn fatal(what: &str, ptr: *const u8, layout: Option<Layout>) -> ! {
    match layout {
        Some(l) => report(format_args!("{what}: {ptr:p} size {} align {}", l.size(), l.align())),
        None => report(format_args!("{what}: {ptr:p}")),
    }
    std::process::abort()
}
